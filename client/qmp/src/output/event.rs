//! Events.

use serde_json::{Map, Value, json};

use super::escape::on_one_line;
use super::{flat, time};

/// An event to be written.
#[derive(Debug, Clone, Copy)]
pub struct EventLine<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its data.
    pub data: &'a Map<String, Value>,
    /// When it was raised, in seconds since 1970 and microseconds.
    pub timestamp: (i64, i64),
    /// Whether it replays the current state.
    pub initial: bool,
    /// How many events before it were lost.
    pub lost: u64,
}

impl EventLine<'_> {
    /// One line for people, or two if events were lost.
    pub fn to_line(self) -> String {
        let (seconds, microseconds) = self.timestamp;
        let mut line = match self.lost {
            0 => String::new(),
            lost => format!("({lost} lost)\n"),
        };
        line += &time::written(seconds, microseconds);
        line.push(' ');
        line += &on_one_line(self.name);
        if !self.data.is_empty() {
            for (name, value) in flat::flat(&Value::Object(self.data.clone())) {
                line += &format!(" {name}={}", quoted(value));
            }
        }
        if self.initial {
            line += " (initial)";
        }
        line.push('\n');
        line
    }

    /// The event as in the protocol, with `initial` and `lost` where they apply.
    pub fn to_json(self) -> Value {
        let (seconds, microseconds) = self.timestamp;
        let mut event = json!({
            "event": self.name,
            "data": self.data,
            "timestamp": {"seconds": seconds, "microseconds": microseconds},
        });
        if self.initial {
            event["initial"] = Value::from(true);
        }
        if self.lost > 0 {
            event["lost"] = Value::from(self.lost);
        }
        event
    }
}

/// Quotes text that would read as several values.
fn quoted(text: String) -> String {
    if text.contains([' ', '"', '=']) && text != "\"\"" {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &Value) -> EventLine<'_> {
        EventLine {
            name: "BLOCK_IO_ERROR",
            data: data.as_object().unwrap(),
            timestamp: (1_300_000_000, 7),
            initial: false,
            lost: 0,
        }
    }

    #[test]
    fn a_line_has_the_time_the_name_and_each_member() {
        let data = json!({"device": "d", "reason": "No space", "x": {"y": [1, 2]}, "\n": "\u{1b}"});
        assert_eq!(
            event(&data).to_line(),
            "2011-03-13T07:06:40.000007Z BLOCK_IO_ERROR \\n=\\u001b device=d reason=\"No space\" x.y=\"1, 2\"\n"
        );
        let data = json!({});
        let line = EventLine {
            lost: 3,
            initial: true,
            ..event(&data)
        };
        assert_eq!(
            line.to_line(),
            "(3 lost)\n2011-03-13T07:06:40.000007Z BLOCK_IO_ERROR (initial)\n"
        );
    }

    #[test]
    fn json_has_the_same_members() {
        let data = json!({"device": "d"});
        let line = EventLine {
            lost: 3,
            initial: true,
            ..event(&data)
        };
        assert_eq!(
            line.to_json(),
            json!({"event": "BLOCK_IO_ERROR", "data": {"device": "d"}, "initial": true, "lost": 3,
                   "timestamp": {"seconds": 1_300_000_000, "microseconds": 7}})
        );
        let plain = event(&data).to_json();
        assert!(plain.get("initial").is_none() && plain.get("lost").is_none());
    }
}
