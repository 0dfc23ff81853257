//! Delivery: methods of `Event` that follow from an event's features.

use std::fmt::Write as _;

use super::Schema;
use crate::definition::{Data, Definition, Member};
use crate::name;
use crate::{ENDS_REPLAY_FEATURE, RATE_LIMITED_FEATURE, REPLAYED_FEATURE};

/// Writes the methods of `Event` that tell how it is delivered.
pub(super) fn write(schema: &Schema<'_>, out: &mut String) {
    let signals: Vec<_> = schema.signals().collect();
    let _ = writeln!(out, "impl Event {{");
    let limited = arms(&signals, |event, data| {
        let limited = event.has_feature(RATE_LIMITED_FEATURE);
        limited.then(|| schema.subject(event, data))
    });
    write_method(
        out,
        "What its rate as a default event is limited by: one in each interval for each subject; none if it is not limited.",
        "pub fn rate_limit(&self) -> Option<&str>",
        &limited,
        "None",
    );
    let replayed = arms(&signals, |event, data| {
        let replayed = event.has_feature(REPLAYED_FEATURE);
        replayed.then(|| schema.replay_condition(event, data))
    });
    write_method(
        out,
        "Whether it tells of a state: the last one, of each device where it has one, is replayed to late subscribers.",
        "pub const fn is_replayed(&self) -> bool",
        &replayed,
        "false",
    );
    let ends = arms(&signals, |event, _| {
        let ends = event.has_feature(ENDS_REPLAY_FEATURE);
        ends.then(|| (Pattern::Ignored, "true".to_owned()))
    });
    write_method(
        out,
        "Whether it ends the states that events before it told of.",
        "pub const fn ends_replay(&self) -> bool",
        &ends,
        "false",
    );
    let _ = writeln!(out, "}}\n");
}

/// Whether an arm reads the event's data.
enum Pattern {
    Data,
    Ignored,
}

fn arms(
    signals: &[(&Definition, &Data)],
    arm: impl Fn(&Definition, &Data) -> Option<(Pattern, String)>,
) -> String {
    let mut arms = String::new();
    for (event, data) in signals {
        let Some((pattern, value)) = arm(event, data) else {
            continue;
        };
        let variant = name::camel(&event.name);
        let pattern = match (data, pattern) {
            (Data::Empty, _) => "",
            (_, Pattern::Data) => "(data)",
            (_, Pattern::Ignored) => "(_)",
        };
        let _ = writeln!(arms, "            Self::{variant}{pattern} => {value},");
    }
    arms
}

fn write_method(out: &mut String, about: &str, signature: &str, arms: &str, otherwise: &str) {
    let body = match arms {
        "" => otherwise.to_owned(),
        arms => format!(
            r#"#[allow(clippy::match_like_matches_macro, unreachable_patterns, reason = "the schema may say it of one event or of all")]
        match self {{
{arms}            _ => {otherwise},
        }}"#
        ),
    };
    let _ = writeln!(
        out,
        r"    /// {about}
    #[must_use]
    {signature} {{
        {body}
    }}
"
    );
}

impl Schema<'_> {
    /// The subject of an event: a QOM path, a device, or none.
    fn subject(&self, event: &Definition, data: &Data) -> (Pattern, String) {
        let members = self.data_members(event, data).into_iter();
        let texts = members
            .map(|(_, member)| member)
            .filter(|m| m.of.name == "str" && !m.of.array);
        let texts: Vec<&Member> = texts.collect();
        let named = |name: &str| texts.iter().find(|member| member.name == name);
        match named("qom-path").or_else(|| named("device")) {
            None => (Pattern::Ignored, "Some(\"\")".to_owned()),
            Some(member) => {
                let field = name::snake(&member.name);
                let value = match member.optional {
                    true => format!("Some(data.{field}.as_deref().unwrap_or_default())"),
                    false => format!("Some(&data.{field})"),
                };
                (Pattern::Data, value)
            }
        }
    }

    /// When an event is replayed: always, or for those values of a member that have the feature.
    fn replay_condition(&self, event: &Definition, data: &Data) -> (Pattern, String) {
        for (_, member) in self.data_members(event, data) {
            let Some(of) = self.by_name.get(member.of.name.as_str()) else {
                continue;
            };
            let values = of.replayed_values().map(|value| {
                let value = format!("{}::{}", of.name, name::camel(&value.name));
                match member.optional {
                    true => format!("Some({value})"),
                    false => value,
                }
            });
            let values: Vec<String> = values.collect();
            if !values.is_empty() {
                let field = name::snake(&member.name);
                let condition = format!("matches!(data.{field}, {})", values.join(" | "));
                return (Pattern::Data, condition);
            }
        }
        (Pattern::Ignored, "true".to_owned())
    }
}
