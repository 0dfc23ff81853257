//! A rule as an option's value: QEMU's keys with dots, or JSON.

use std::collections::BTreeMap;

use faultvisor_monitor::Strict;
use faultvisor_monitor::option_syntax::split;
use faultvisor_schema::{BlockFaultRule, JSONType, SchemaInfoBranch};
use serde_json::{Map, Number, Value};

use super::error::Problem;
use super::members::{Type, decode};

/// Most names with dots between them that a key can have; no rule has as many.
const MAX_NAMES: usize = 8;

/// What stands behind a key: a value, or more keys behind a dot.
#[derive(Debug)]
enum Node {
    Value(String),
    Keys(BTreeMap<String, Node>),
}

/// Understands the value of `--fault`.
pub(super) fn parse(text: &str) -> Result<BlockFaultRule, Problem> {
    let value = if text.starts_with('{') {
        let read = serde_json::from_str::<Strict>(text);
        let Strict(value) = read.map_err(|error| Problem::Syntax(error.to_string()))?;
        value
    } else {
        let mut rule = BTreeMap::new();
        for part in split(text) {
            insert(&mut rule, &part)?;
        }
        let rule = Node::Keys(rule);
        value(rule, Type::rule(), "")?
    };
    decode(value).map_err(|refused| refused.problem)
}

/// Puts a key and its value in its place.
fn insert(rule: &mut BTreeMap<String, Node>, part: &str) -> Result<(), Problem> {
    let Some((key, value)) = part.split_once('=') else {
        return Err(Problem::NoValue(part.to_owned()));
    };
    if key.split('.').count() > MAX_NAMES {
        return Err(Problem::unknown_key(key, []));
    }
    let twice = || Problem::Twice(key.to_owned());
    let (keys, last) = match key.rsplit_once('.') {
        Some((keys, last)) => (keys.split('.').collect(), last),
        None => (Vec::new(), key),
    };
    let mut place = rule;
    for name in keys {
        let inner = place.entry(name.to_owned());
        match inner.or_insert_with(|| Node::Keys(BTreeMap::new())) {
            Node::Keys(keys) => place = keys,
            Node::Value(_) => return Err(twice()),
        }
    }
    let value = Node::Value(value.to_owned());
    match place.insert(last.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

/// What a node is in JSON, when it is to be of a type. What it cannot be stays a text, which the
/// schema refuses with the right words.
fn value(node: Node, of: Option<Type>, path: &str) -> Result<Value, Problem> {
    let under = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let element = of.and_then(Type::element);
    match (node, element) {
        (Node::Keys(mut keys), Some(element)) => {
            let mut elements = Vec::with_capacity(keys.len());
            while let Some(node) = keys.remove(&elements.len().to_string()) {
                let path = under(&elements.len().to_string());
                elements.push(value(node, Some(element), &path)?);
            }
            match keys.into_keys().next() {
                None => Ok(Value::Array(elements)),
                Some(key) => Err(Problem::Gap {
                    key: under(&key),
                    missing: under(&elements.len().to_string()),
                }),
            }
        }
        (Node::Keys(keys), None) => {
            let member = |(name, node): (String, Node)| {
                let of = of.and_then(|of| of.member(&name));
                let value = value(node, of, &under(&name))?;
                Ok((name, value))
            };
            let members: Result<Map<_, _>, Problem> = keys.into_iter().map(member).collect();
            members.map(Value::Object)
        }
        (Node::Value(text), Some(element)) => Ok(Value::Array(vec![scalar(text, Some(element))])),
        (Node::Value(text), None) => Ok(scalar(text, of)),
    }
}

fn scalar(text: String, of: Option<Type>) -> Value {
    let converted = match of.map(Type::branch) {
        Some(SchemaInfoBranch::Builtin(builtin)) => match builtin.json_type {
            JSONType::Int => integer(&text),
            JSONType::Number => number(&text),
            JSONType::Boolean => switch(&text),
            _ => None,
        },
        // Of a text or a number: digits are a number.
        Some(SchemaInfoBranch::Alternate(_)) => integer(&text),
        _ => None,
    };
    converted.unwrap_or(Value::String(text))
}

fn integer(text: &str) -> Option<Value> {
    let unsigned = unsigned(text).map(Value::from);
    unsigned.or_else(|| text.parse::<i64>().ok().map(Value::from))
}

/// A number as QEMU reads one in options: decimal, or hexadecimal behind `0x`.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    let all = |digits: &str, radix| {
        // Rust's own parser takes a sign.
        let is_digit = |digit: char| digit.is_digit(radix);
        let parsed = u64::from_str_radix(digits, radix).ok();
        parsed.filter(|_| digits.chars().all(is_digit))
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => all(digits, 16),
        None => all(text, 10),
    }
}

fn number(text: &str) -> Option<Value> {
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map(Value::Number)
}

fn switch(text: &str) -> Option<Value> {
    crate::cli::switch(text).ok().map(Value::Bool)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(text: &str) -> Value {
        serde_json::to_value(parse(text).unwrap()).unwrap()
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn keys_and_json_say_the_same() {
        let keys = "device=disk0,id=a,,b,action=error,errno=EIO,after=on,operations.0=read,\
                    operations.1=write,sector=0x800,probability=0.5,seed=18446744073709551615";
        let json = json!({
            "device": "disk0", "id": "a,b", "action": "error", "errno": "EIO", "after": true,
            "operations": ["read", "write"], "sector": 2048, "probability": 0.5,
            "seed": u64::MAX,
        });
        assert_eq!(shown(keys), json);
        assert_eq!(shown(&json.to_string()), json);
    }

    #[test]
    fn a_value_is_what_the_schema_says_its_member_is() {
        let errno = |text: &str| shown(&format!("device=1,action=error,errno={text}"));
        assert_eq!(
            errno("5"),
            json!({ "device": "1", "action": "error", "errno": 5 })
        );
        assert_eq!(errno("EIO")["errno"], json!("EIO"));
        let one = shown("device=d,action=hang,operations=flush,state=2");
        assert_eq!(one["operations"], json!(["flush"]));
        assert_eq!(one["state"], json!("2"));
        let pattern = shown("device=d,action=corrupt,pattern=00112233");
        assert_eq!(pattern["pattern"], json!("00112233"));
        let delay = "device=d,action=delay,percentiles.0.percentile=50,\
                     percentiles.0.microseconds=100,percentiles.1.percentile=100,\
                     percentiles.1.microseconds=2000";
        let points = json!([
            { "percentile": 50.0, "microseconds": 100 },
            { "percentile": 100.0, "microseconds": 2000 },
        ]);
        assert_eq!(shown(delay)["percentiles"], points);
    }

    #[test]
    fn more_than_ten_elements_are_in_order() {
        let keys = |index: u64| {
            format!(
                ",percentiles.{index}.percentile={index},percentiles.{index}.microseconds={index}"
            )
        };
        let text: String = (0..12).map(keys).collect();
        let rule = shown(&format!("device=d,action=delay{text}"));
        assert_eq!(rule["percentiles"][10]["microseconds"], json!(10));
        assert_eq!(rule["percentiles"].as_array().unwrap().len(), 12);
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        assert_eq!(
            error("device=d,action=hang,probabilty=1"),
            "unknown key 'probabilty'; did you mean 'probability'?"
        );
        assert_eq!(
            error("device=d,action=hang,errno=EIO"),
            "key 'errno' does not go with the action 'hang'"
        );
        assert_eq!(
            error("device=d,action=error,errno=EIO,flip-bits=1"),
            "key 'flip-bits' does not go with the action 'error'"
        );
    }

    #[test]
    fn what_no_rule_can_have_is_refused_in_the_schemas_words() {
        let cases = [
            ("action=hang", "Parameter 'device' is missing"),
            ("device=d", "Parameter 'action' is missing"),
            ("device=d,action=error", "Parameter 'errno' is missing"),
            (
                "device=d,action=burn,errno=EIO",
                "Parameter 'action' does not accept value 'burn'",
            ),
            (
                "device=d,action=error,errno=EWHAT",
                "Parameter 'errno' does not accept value 'EWHAT'",
            ),
            (
                "device=d,action=error,errno=70000",
                "Parameter 'errno' expects an integer from 0 to 65535",
            ),
            (
                "device=d,action=error,errno=EIO,after=maybe",
                "Invalid parameter type for 'after', expected: boolean",
            ),
            (
                "device=d,action=hang,sector=4K",
                "Invalid parameter type for 'sector', expected: integer",
            ),
            (
                "device=d,action=hang,sector=-1",
                "Parameter 'sector' expects an integer from 0 to 18446744073709551615",
            ),
            (
                "device=d,action=hang,probability=nan",
                "Invalid parameter type for 'probability', expected: number",
            ),
            (
                "device=d,action=hang,operations.0=read,operations.1=erase",
                "Parameter 'operations[1]' does not accept value 'erase'",
            ),
            (
                "device=d,action=delay,percentiles=5",
                "Invalid parameter type for 'percentiles[0]', expected: object",
            ),
            (
                "device.0=d,action=hang",
                "Invalid parameter type for 'device', expected: string",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        assert_eq!(error("device"), "'device' is not of the form key=value");
        assert_eq!(error("device=d,"), "'' is not of the form key=value");
        assert_eq!(error("device=d,device=e"), "key 'device' is given twice");
        let both = "device=d,operations=read,operations.0=write";
        assert_eq!(error(both), "key 'operations.0' is given twice");
        let gap = "device=d,operations.0=read,operations.2=write";
        assert_eq!(
            error(gap),
            "key 'operations.2' is given without 'operations.1'"
        );
        let deep = format!("device=d,{}=1", "a.".repeat(100_000));
        assert!(error(&deep).starts_with("unknown key 'a.a."));
        let json = error("{\"device\": }");
        assert_eq!(json, "expected value at line 1 column 12");
        let json = error("{\"device\": \"a\", \"device\": \"b\" }");
        assert!(json.starts_with("duplicate key 'device'"), "{json}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_keys_are_too_strange(
            parts in prop::collection::vec(
                ("(device|action|operations|percentiles|errno|0|1|[a-z]{0,2}|\\.){0,4}", "[,.=a-z0-9]{0,6}"),
                0..6,
            ),
        ) {
            let parts: Vec<_> = parts.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let _ = parse(&parts.join(","));
        }
    }
}
