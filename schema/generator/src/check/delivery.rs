//! Delivery features: allowed on events only, and not in contradiction.

use super::Checker;
use crate::definition::{Data, Definition, Feature, Kind, Member};
use crate::error::SchemaError;
use crate::{ENDS_REPLAY_FEATURE, NOTICE_FEATURE, RATE_LIMITED_FEATURE, REPLAYED_FEATURE};

/// The features that only events may have.
const OF_EVENTS: [&str; 3] = [NOTICE_FEATURE, RATE_LIMITED_FEATURE, ENDS_REPLAY_FEATURE];

/// The pairs of features that exclude each other.
const EXCLUSIVE: [(&str, &str); 4] = [
    (REPLAYED_FEATURE, ENDS_REPLAY_FEATURE),
    (NOTICE_FEATURE, RATE_LIMITED_FEATURE),
    (NOTICE_FEATURE, REPLAYED_FEATURE),
    (NOTICE_FEATURE, ENDS_REPLAY_FEATURE),
];

impl Checker<'_> {
    /// Refuses a delivery feature on anything but an event, and features of an event that contradict each other.
    pub(super) fn delivery(&self, definition: &Definition) -> Result<(), SchemaError> {
        let members = definition.own_members().iter().flat_map(|m| &m.features);
        members
            .clone()
            .try_for_each(|feature| misplaced(feature, &[REPLAYED_FEATURE]))?;
        members
            .into_iter()
            .try_for_each(|feature| misplaced(feature, &OF_EVENTS))?;
        match &definition.kind {
            Kind::Event(data) => self.event_delivery(definition, data),
            kind => {
                let own = &definition.features;
                own.iter()
                    .try_for_each(|feature| misplaced(feature, &OF_EVENTS))?;
                own.iter()
                    .try_for_each(|feature| misplaced(feature, &[REPLAYED_FEATURE]))?;
                let values = match kind {
                    Kind::Enum(values) => values.as_slice(),
                    _ => &[],
                };
                let mut features = values.iter().flat_map(|value| &value.features);
                features.try_for_each(|feature| misplaced(feature, &OF_EVENTS))
            }
        }
    }

    fn event_delivery(&self, event: &Definition, data: &Data) -> Result<(), SchemaError> {
        let contradict =
            |(one, other): &&(&str, &str)| event.has_feature(one) && event.has_feature(other);
        if let Some((one, other)) = EXCLUSIVE.iter().find(contradict) {
            let message = format!("the features '{one}' and '{other}' exclude each other");
            return Err(event.location.error(message));
        }
        if !event.has_feature(REPLAYED_FEATURE) {
            return Ok(());
        }
        match self.deciding_members(data).as_slice() {
            [] => Ok(()),
            [member] if !member.of.array => Ok(()),
            [list] => {
                let message = format!("'{}' is a list, and no list decides a replay", list.name);
                Err(event.location.error(message))
            }
            [first, second, ..] => {
                let message = format!(
                    "'{}' and '{}' cannot both decide a replay",
                    first.name, second.name
                );
                Err(event.location.error(message))
            }
        }
    }

    /// The members of an event's data whose values decide whether it is replayed.
    fn deciding_members<'d>(&'d self, data: &'d Data) -> Vec<&'d Member> {
        let members = match data {
            Data::Empty => Vec::new(),
            Data::Members(members) => members.iter().collect(),
            Data::Named(name, _) => self.struct_members(name),
        };
        let decides = |member: &&Member| {
            let of = self.by_name.get(member.of.name.as_str());
            of.is_some_and(|of| of.replayed_values().next().is_some())
        };
        members.into_iter().filter(decides).collect()
    }
}

/// Refuses these features here.
fn misplaced(feature: &Feature, refused: &[&str]) -> Result<(), SchemaError> {
    if !refused.contains(&feature.name.as_str()) {
        return Ok(());
    }
    let who = match feature.name.as_str() {
        REPLAYED_FEATURE => "an event or a value of an enum",
        _ => "an event",
    };
    let message = format!("only {who} can have the feature '{}'", feature.name);
    Err(feature.location.error(message))
}
