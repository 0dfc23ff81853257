//! Profiles in TOML.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Entry, RULE, unknown};
use crate::faults::error::Mistake;
use crate::faults::file::Lines;

/// The rules of a profile: its tables `[[rule]]`.
pub(super) fn entries(text: &str, lines: &Lines) -> Result<Vec<Entry>, Mistake> {
    let profile = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Mistake::syntax(lines.line(at), error.message().replace('\n', ", "))
    })?;
    let mut entries = Vec::new();
    for (key, value) in profile.into_inner() {
        let line = lines.line(key.span().start);
        if key.get_ref() != RULE {
            return Err(unknown(line, key.get_ref()));
        }
        let DeValue::Array(rules) = value.into_inner() else {
            return Err(Mistake::syntax(line, "rules are tables [[rule]]"));
        };
        for rule in rules {
            entries.push(entry(rule, lines)?);
        }
    }
    Ok(entries)
}

fn entry(rule: Spanned<DeValue<'_>>, lines: &Lines) -> Result<Entry, Mistake> {
    let line = lines.line(rule.span().start);
    let DeValue::Table(members) = rule.into_inner() else {
        return Err(Mistake::syntax(line, "rules are tables [[rule]]"));
    };
    let of = |key: &Spanned<_>| lines.line(key.span().start);
    let keys = members.keys();
    let keys = keys.map(|key| (key.get_ref().to_string(), of(key)));
    Ok(Entry {
        line,
        keys: keys.collect(),
        value: object(members, lines)?,
    })
}

fn object(table: DeTable<'_>, lines: &Lines) -> Result<Value, Mistake> {
    let mut members = Map::new();
    for (key, member) in table {
        members.insert(key.into_inner().into_owned(), value(member, lines)?);
    }
    Ok(Value::Object(members))
}

/// A value as JSON.
fn value(given: Spanned<DeValue<'_>>, lines: &Lines) -> Result<Value, Mistake> {
    let line = lines.line(given.span().start);
    match given.into_inner() {
        DeValue::String(text) => Ok(Value::String(text.into_owned())),
        DeValue::Boolean(value) => Ok(Value::Bool(value)),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            let number = number.ok().and_then(Number::from_i128);
            number.map(Value::Number).ok_or_else(|| {
                Mistake::syntax(line, format!("{integer} does not fit into 64 bits"))
            })
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| {
                let text = float.as_str();
                Mistake::syntax(line, format!("{text} is not a finite number"))
            })
        }
        DeValue::Datetime(_) => Err(Mistake::syntax(line, "no member of a rule is a date")),
        DeValue::Array(elements) => {
            let elements = elements.into_iter().map(|element| value(element, lines));
            Ok(Value::Array(elements.collect::<Result<_, _>>()?))
        }
        DeValue::Table(table) => object(table, lines),
    }
}
