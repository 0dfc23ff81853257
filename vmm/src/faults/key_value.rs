//! A rule as an option's value: QEMU's keys with dots, or JSON. What the keys mean is what `qmp block-fault-add` takes them
//! for.

use std::collections::BTreeMap;

use faultvisor_monitor::Strict;
use faultvisor_monitor::option_syntax::{self, OptionError, parts};
use faultvisor_schema::{BlockFaultRule, JSONType, SchemaInfoBranch};
use serde_json::{Map, Number, Value};

use super::error::Problem;
use super::members::{Type, decode};

/// Most names with dots between them that a key can have; no rule has as many.
const MAX_NAMES: usize = 8;

/// What stands behind a key.
#[derive(Debug)]
enum Node {
    /// A value, or several of a list.
    Values(Vec<String>),
    /// Behind `:=`.
    Json(Value),
    /// More keys behind a dot.
    Keys(BTreeMap<String, Node>),
}

/// Understands the value of `--fault`.
pub(super) fn parse(text: &str) -> Result<BlockFaultRule, Problem> {
    let value = if text.starts_with('{') {
        strict(text).map_err(|error| Problem::Syntax(error.to_string()))?
    } else {
        let mut rule = BTreeMap::new();
        let mut list = None;
        for part in parts(text) {
            match (part.pair(), &list) {
                (Some((key, value)), _) => {
                    insert(&mut rule, key, value)?;
                    list = is_list(key).then(|| key.to_owned());
                }
                // One more element of the list before it.
                (None, Some(key)) if !part.text().is_empty() => {
                    insert(&mut rule, key, part.text())?;
                }
                (None, _) => return Err(OptionError::NoValue(part.text().to_owned()).into()),
            }
        }
        let rule = Node::Keys(rule);
        value(rule, Type::rule(), "")?
    };
    decode(value).map_err(|refused| refused.problem)
}

fn strict(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(text).map(|Strict(value)| value)
}

/// Whether a key is that of a list whose elements have no parts.
fn is_list(key: &str) -> bool {
    let mut of = Type::rule();
    for name in key.split('.') {
        of = of.and_then(|of| of.element().or_else(|| of.member(name)));
    }
    let element = of.and_then(Type::element);
    element.is_some_and(|element| !matches!(element.branch(), SchemaInfoBranch::Object(_)))
}

/// Puts a key and its value in its place.
fn insert(rule: &mut BTreeMap<String, Node>, key: &str, value: &str) -> Result<(), Problem> {
    let (key, is_json) = match key.strip_suffix(':') {
        Some(key) => (key, true),
        None => (key, false),
    };
    if key.split('.').count() > MAX_NAMES {
        return Err(Problem::unknown_key(key, []));
    }
    let twice = || Problem::from(OptionError::Twice(key.to_owned()));
    let (keys, last) = match key.rsplit_once('.') {
        Some((keys, last)) => (keys.split('.').collect(), last),
        None => (Vec::new(), key),
    };
    let mut place = rule;
    for name in keys {
        let inner = place.entry(name.to_owned());
        match inner.or_insert_with(|| Node::Keys(BTreeMap::new())) {
            Node::Keys(keys) => place = keys,
            Node::Values(_) | Node::Json(_) => return Err(twice()),
        }
    }
    if let Some(Node::Values(values)) = place.get_mut(last)
        && !is_json
        && is_list(key)
    {
        values.push(value.to_owned());
        return Ok(());
    }
    let node = match is_json {
        true => Node::Json(json(key, value)?),
        false => Node::Values(vec![value.to_owned()]),
    };
    match place.insert(last.to_owned(), node) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

fn json(key: &str, text: &str) -> Result<Value, Problem> {
    strict(text).map_err(|error| Problem::Syntax(format!("{key}: not JSON: {error}")))
}

/// What a node is in JSON, when it is to be of a type.
fn value(node: Node, of: Option<Type>, path: &str) -> Result<Value, Problem> {
    let under = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let element = of.and_then(Type::element);
    match (node, element) {
        (Node::Json(value), _) => Ok(value),
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
        (Node::Values(texts), Some(element)) => match texts.as_slice() {
            [text] if text.starts_with('[') => json(path, text),
            [text] if text.is_empty() => Ok(Value::Array(Vec::new())),
            texts => {
                let words = texts.iter().flat_map(|text| text.split(','));
                let elements = words.map(|word| scalar(word, Some(element), path));
                elements.collect::<Result<_, _>>().map(Value::Array)
            }
        },
        (Node::Values(texts), None) => {
            let text = texts.into_iter().next().unwrap_or_default();
            let is_object = of.is_some_and(|of| matches!(of.branch(), SchemaInfoBranch::Object(_)));
            match text.starts_with('{') && is_object {
                true => json(path, &text),
                false => scalar(&text, of, path),
            }
        }
    }
}

/// A text as a value of a type. What it cannot be for want of a word stays a text, which [`decode`] refuses with the words
/// that there are.
fn scalar(text: &str, of: Option<Type>, path: &str) -> Result<Value, Problem> {
    let (converted, expected) = match of.map(Type::branch) {
        Some(SchemaInfoBranch::Builtin(builtin)) => match builtin.json_type {
            JSONType::Int => (integer(text), "an integer"),
            JSONType::Number => (integer(text).or_else(|| number(text)), "a number"),
            JSONType::Boolean => (switch(text), "on or off"),
            _ => return Ok(Value::from(text)),
        },
        Some(SchemaInfoBranch::Object(_)) => (None, "members behind a dot, or JSON"),
        // Of a text or a number: digits are a number.
        Some(SchemaInfoBranch::Alternate(_)) => {
            return Ok(integer(text).unwrap_or_else(|| Value::from(text)));
        }
        _ => return Ok(Value::from(text)),
    };
    converted.ok_or_else(|| Problem::Value {
        key: path.to_owned(),
        text: text.to_owned(),
        expected,
    })
}

fn integer(text: &str) -> Option<Value> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = scaled(digits)?;
    match is_negative {
        true => i64::try_from(-i128::from(magnitude)).ok().map(Value::from),
        false => Some(Value::from(magnitude)),
    }
}

/// A number, decimal or hexadecimal behind `0x`, or decimal with K, M, G or T for a power of 1024.
fn scaled(text: &str) -> Option<u64> {
    let suffixes = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let scale = suffixes.into_iter().find_map(|(suffix, shift)| {
        let is_it = |last: char| last.eq_ignore_ascii_case(&suffix);
        text.strip_suffix(is_it).map(|digits| (digits, shift))
    });
    match scale {
        Some((digits, shift)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            unsigned(digits)?.checked_mul(1 << shift)
        }
        Some(_) => None,
        None => unsigned(text),
    }
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
    // No names of numbers, such as "inf": JSON has none.
    let has_digits =
        text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    let number = text.parse().ok().filter(|_| has_digits);
    number.and_then(Number::from_f64).map(Value::Number)
}

fn switch(text: &str) -> Option<Value> {
    option_syntax::switch(text).ok().map(Value::Bool)
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
    fn invalid_rules_are_refused_in_the_schemas_words() {
        let cases = [
            ("action=hang", "Parameter 'device' is missing"),
            ("device=d", "Parameter 'action' is missing"),
            ("device=d,action=error", "Parameter 'errno' is missing"),
            (
                "device=d,action=burn,errno=EIO",
                "action=burn: expected one of error, delay, hang, corrupt, torn, drop, misdirect, set-state, \
                 stop, power-cut; did you mean 'torn'?",
            ),
            (
                "device=d,action=error,errno=70000",
                "Parameter 'errno' expects an integer from 0 to 65535",
            ),
            (
                "device=d,action=error,errno=EIO,after=maybe",
                "after=maybe: expected on or off",
            ),
            (
                "device=d,action=hang,sector=4Q",
                "sector=4Q: expected an integer",
            ),
            (
                "device=d,action=hang,sector=-1",
                "Parameter 'sector' expects an integer from 0 to 18446744073709551615",
            ),
            (
                "device=d,action=hang,probability=nan",
                "probability=nan: expected a number",
            ),
            (
                "device=d,action=hang,operations.0=read,operations.1=erase",
                "operations.1=erase: expected one of read, write, flush, discard, write-zeroes",
            ),
            (
                "device=d,action=delay,percentiles=5",
                "percentiles=5: expected members behind a dot, or JSON",
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
    fn an_errno_that_there_is_not_is_refused_with_those_that_there_are() {
        let error = self::error("device=d,action=error,errno=EFOO");
        let start = "errno=EFOO: expected a number, or one of EPERM, ENOENT, ESRCH, EINTR, EIO, ";
        assert!(error.starts_with(start), "{error}");
        let close = self::error("device=d,action=error,errno=ENOSPACE");
        assert!(close.ends_with("; did you mean 'ENOSPC'?"), "{close}");
    }

    #[test]
    fn a_list_is_written_in_every_way_that_the_shell_knows() {
        let operations =
            |text: &str| shown(&format!("device=d,action=hang,{text}"))["operations"].clone();
        let both = json!(["read", "write"]);
        for text in [
            "operations=read,write",
            "operations=read,,write",
            "operations=read,operations=write",
            "operations.0=read,operations.1=write",
            "operations:=[\"read\",,\"write\"]",
            "operations=[\"read\",,\"write\"]",
            "operations=read,write,count=1",
        ] {
            assert_eq!(operations(text), both, "{text}");
        }
        assert_eq!(operations("operations="), json!([]));
        let points = "percentiles=[{\"percentile\": 100,, \"microseconds\": 5}]";
        let delay = shown(&format!("device=d,action=delay,{points}"));
        assert_eq!(delay["percentiles"][0]["microseconds"], json!(5));
        let stray = error("device=d,write");
        assert_eq!(stray, "'write' is not of the form key=value");
        let stray = error("operations=read,count=1,write");
        assert_eq!(stray, "'write' is not of the form key=value");
    }

    #[test]
    fn numbers_have_the_suffixes_of_sizes() {
        let sector =
            |text: &str| shown(&format!("device=d,action=hang,sector={text}"))["sector"].clone();
        assert_eq!(sector("4K"), json!(4096));
        assert_eq!(sector("1g"), json!(1u64 << 30));
        assert_eq!(sector("0x1F"), json!(31));
        for text in ["K", "0x1K", "1KK", "16777216T", "1.5", "+1", ""] {
            let error = self::error(&format!("device=d,action=hang,sector={text}"));
            assert_eq!(error, format!("sector={text}: expected an integer"));
        }
        let probability = shown("device=d,action=hang,probability=1")["probability"].clone();
        assert_eq!(probability, json!(1.0));
    }

    #[test]
    fn a_malformed_list_of_keys_is_refused() {
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
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_keys_make_the_parser_panic(
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
