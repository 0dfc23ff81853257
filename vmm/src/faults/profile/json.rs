//! Profiles in JSON.

use std::collections::BTreeMap;

use faultvisor_monitor::Strict;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Entry, RULE, unknown};
use crate::faults::error::Mistake;
use crate::faults::file::Lines;

/// The members of an object, each with its text.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The rules of a profile: a list, or an object whose member `rule` is one.
pub(super) fn entries(text: &str, lines: &Lines) -> Result<Vec<Entry>, Mistake> {
    let malformed = |error: serde_json::Error| {
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(text, _)| text);
        Mistake::syntax(error.line().max(1), message)
    };
    // An error in a part would be located relative to the part.
    serde_json::from_str::<Strict>(text).map_err(malformed)?;
    let profile: &RawValue = serde_json::from_str(text).map_err(malformed)?;
    let line = |of: &RawValue| lines.line(offset(text, of));
    let mut rules = profile;
    if let Ok(members) = serde_json::from_str::<Members<'_>>(profile.get()) {
        for (key, value) in &members {
            if key != RULE {
                return Err(unknown(line(value), key));
            }
        }
        match members.get(RULE) {
            Some(value) => rules = value,
            None => return Ok(Vec::new()),
        }
    }
    let list: Vec<&RawValue> = serde_json::from_str(rules.get())
        .map_err(|_| Mistake::syntax(line(rules), "rules are a list of objects"))?;
    let entry = |rule: &&RawValue| {
        let members: Members<'_> = serde_json::from_str(rule.get())
            .map_err(|_| Mistake::syntax(line(rule), "rules are a list of objects"))?;
        let mut object = serde_json::Map::new();
        for (key, member) in &members {
            let value: Value = serde_json::from_str(member.get()).map_err(malformed)?;
            object.insert(key.clone(), value);
        }
        Ok(Entry {
            line: line(rule),
            value: Value::Object(object),
            keys: members
                .iter()
                .map(|(key, member)| (key.clone(), line(member)))
                .collect(),
        })
    };
    list.iter().map(entry).collect()
}

/// The position of a part in the text.
fn offset(text: &str, part: &RawValue) -> usize {
    part.get()
        .as_ptr()
        .addr()
        .saturating_sub(text.as_ptr().addr())
}
