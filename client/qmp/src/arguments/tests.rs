use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::introspection::samples;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn open(arguments: &[&str]) -> Result<Value, String> {
    from_words(&samples::masked(), "0", &words(arguments)).map_err(|error| error.to_string())
}

fn faultvisor(command: &str, arguments: &[&str]) -> Result<Value, String> {
    let introspection = samples::faultvisor();
    let command = introspection.command(command).unwrap();
    from_words(&introspection, &command.arguments, &words(arguments))
        .map_err(|error| error.to_string())
}

#[test]
fn values_have_the_types_of_introspection() {
    let arguments = [
        "driver=file",
        "path=/a=b",
        "name=42",
        "limits.bps=4K",
        "limits.strict=on",
    ];
    assert_eq!(
        open(&arguments),
        Ok(json!({"driver": "file", "path": "/a=b", "name": "42",
                  "limits": {"bps": 4096, "strict": true}}))
    );
}

#[test]
fn the_order_of_a_tag_and_its_members_does_not_matter() {
    let expected = json!({"driver": "net", "family": "ip", "host": "h", "port": 1});
    let arguments = ["host=h", "port=1", "family=ip", "driver=net"];
    assert_eq!(open(&arguments), Ok(expected.clone()));
    let json_tag = ["host=h", "port=1", "family:=\"ip\"", "driver=net"];
    assert_eq!(open(&json_tag), Ok(expected));
    // A tag without a branch.
    assert_eq!(open(&["driver=gone"]), Ok(json!({"driver": "gone"})));
}

#[test]
fn a_rule_for_a_fault_is_written_without_json() {
    let rule = [
        "device=disk0",
        "action=error",
        "errno=EIO",
        "operations=read,write",
        "probability=0.5",
    ];
    assert_eq!(
        faultvisor("block-fault-add", &rule),
        Ok(json!({"device": "disk0", "action": "error", "errno": "EIO",
                  "operations": ["read", "write"], "probability": 0.5}))
    );
    let number = faultvisor("block-fault-add", &["device=d", "action=error", "errno=5"]);
    assert_eq!(
        number,
        Ok(json!({"device": "d", "action": "error", "errno": 5}))
    );
    let nested = [
        "device=d",
        "action=delay",
        "percentiles.0.percentile=50",
        "percentiles.0.microseconds=10",
    ];
    assert_eq!(
        faultvisor("block-fault-add", &nested),
        Ok(json!({"device": "d", "action": "delay",
                  "percentiles": [{"percentile": 50, "microseconds": 10}]}))
    );
}

#[test]
fn lists_are_written_in_four_ways() {
    let list = |arguments: &[&str]| {
        open(&[&["driver=gone"], arguments].concat()).map(|value| value["words"].clone())
    };
    let expected = Ok(json!(["a", "b"]));
    assert_eq!(list(&["words=a,b"]), expected);
    assert_eq!(list(&["words=a", "words=b"]), expected);
    assert_eq!(list(&["words.1=b", "words.0=a"]), expected);
    assert_eq!(list(&["words=[\"a\", \"b\"]"]), expected);
    assert_eq!(list(&["words="]), Ok(json!([])));
    // After an index a comma separates nothing.
    assert_eq!(list(&["words.0=a,b"]), Ok(json!(["a,b"])));
    let many: Vec<String> = (0..12)
        .map(|index| format!("words.{index}={index}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        list(&many).unwrap().as_array().unwrap().last(),
        Some(&json!("11"))
    );
}

#[test]
fn json_is_accepted_for_objects_and_lists_and_always_after_a_colon() {
    let arguments = [
        "driver=gone",
        "limits={\"bps\": 1}",
        "whatever={\"a\": [null]}",
        "name={}",
    ];
    assert_eq!(
        open(&arguments),
        Ok(
            json!({"driver": "gone", "limits": {"bps": 1}, "whatever": {"a": [null]}, "name": "{}"})
        )
    );
    assert_eq!(
        open(&["driver=gone", "name:=7", "other:={\"a\": 1}"]),
        Ok(json!({"driver": "gone", "name": 7, "other": {"a": 1}}))
    );
    assert_eq!(
        open(&["driver=gone", "whatever=a b"]),
        Ok(json!({"driver": "gone", "whatever": "a b"}))
    );
    assert_eq!(
        open(&["driver=gone", "whatever.a=1"]),
        Ok(json!({"driver": "gone", "whatever": {"a": 1}}))
    );
    let error = open(&["driver=gone", "name:=x"]).unwrap_err();
    assert!(
        error.starts_with("name: not JSON: expected value"),
        "{error}"
    );
}

#[test]
fn an_alternate_takes_the_first_type_that_fits_and_a_string_last() {
    let backing =
        |argument: &str| open(&["driver=gone", argument]).map(|value| value["backing"].clone());
    assert_eq!(backing("backing=a"), Ok(json!("a")));
    assert_eq!(backing("backing=null"), Ok(json!(null)));
    assert_eq!(backing("backing:=\"null\""), Ok(json!("null")));
    assert_eq!(
        backing("backing={\"driver\": \"gone\"}"),
        Ok(json!({"driver": "gone"}))
    );
    assert_eq!(
        backing("backing.driver=gone"),
        Ok(json!({"driver": "gone"}))
    );
    let nested = open(&["driver=gone", "backing.driver=file", "backing.path=p"]).unwrap();
    assert_eq!(nested["backing"], json!({"driver": "file", "path": "p"}));
    let wrong = faultvisor(
        "block-fault-add",
        &["device=d", "action=error", "errno=EIEIO"],
    )
    .unwrap_err();
    assert!(
        wrong.ends_with("or integer; did you mean 'EIO'?"),
        "{wrong}"
    );
}

#[test]
fn errors_name_the_key_and_what_was_expected() {
    let cases: &[(&[&str], &str)] = &[
        (&["stray"], "'stray' is neither key=value nor a JSON object"),
        (&["a..b=1"], "'a..b' is no key: a part of it is empty"),
        (&["=1"], "'' is no key: a part of it is empty"),
        (&[], "'driver' is missing, expected: one of file, net, gone"),
        (
            &["path=x"],
            "'driver' is missing, expected: one of file, net, gone",
        ),
        (
            &["driver=fiel", "path=x"],
            "driver=fiel: expected one of file, net, gone; did you mean 'file'?",
        ),
        (&["driver=file"], "'path' is missing, expected: string"),
        (
            &["driver=file", "path=x", "port=1"],
            "'port' goes with driver=net, and not with driver=file",
        ),
        (
            &["driver=gone", "limits.bsp=1"],
            "there is no argument 'limits.bsp'; did you mean 'limits.bps'?; \
            there are: limits.bps, limits.share, limits.strict",
        ),
        (
            &["driver=gone", "limits.bps=lots"],
            "limits.bps=lots: expected integer",
        ),
        (
            &["driver=gone", "limits.strict=1", "limits.bps=1"],
            "limits.strict=1: expected boolean",
        ),
        (
            &["driver=gone", "limits=1"],
            "limits=1: expected object (limits.MEMBER=…, or JSON)",
        ),
        (
            &["driver=gone", "parts=1"],
            "parts=1: expected list of object (parts.0.MEMBER=…, or JSON)",
        ),
        (
            &["driver=gone", "name=a", "name=b"],
            "'name' is given twice",
        ),
        (
            &["driver=gone", "limits={}", "limits.bps=1"],
            "'limits' is given as a whole and in parts",
        ),
        (
            &["driver=gone", "words.1=b"],
            "'words' is a list: its elements are words.0, words.1 and so on, without a gap",
        ),
        (
            &["driver=gone", "words.first=b"],
            "'words' is a list: its elements are words.0, words.1 and so on, without a gap",
        ),
        (
            &["driver=gone", "name.first=b"],
            "'name' has no 'first': it is string",
        ),
        (
            &["driver=gone", "kinds=file,nit"],
            "kinds=nit: expected one of file, net, gone; did you mean 'net'?",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(open(arguments).unwrap_err(), *expected, "{arguments:?}");
    }
    let none = from_words(&samples::masked(), "9", &words(&["a=1"])).unwrap_err();
    assert_eq!(
        none.to_string(),
        "there is no argument 'a'; there are: none"
    );
}

#[test]
fn a_key_of_a_thousand_parts_is_refused() {
    let key = vec!["backing"; 1000].join(".");
    let error = open(&[&format!("{key}=x")]).unwrap_err();
    assert_eq!(
        error,
        "'backing.backing.backing.backing…' is deeper than any argument"
    );
}

/// Any JSON value of a small size.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_words_are_an_object_or_an_error(arguments in prop::collection::vec(
        prop_oneof![
            any::<String>(),
            "(driver|name|limits|words|kinds|parts|backing|whatever)(\\.(bps|0|1|driver|path))?:?=.{0,12}",
            "(driver|backing\\.driver)=(file|net|gone)",
        ], 0..6)) {
        if let Ok(value) = from_words(&samples::masked(), "0", &arguments) {
            prop_assert!(value.is_object());
        }
    }

    #[test]
    fn a_string_arrives_as_it_was_written(text in any::<String>()) {
        let arguments = [format!("name={text}"), "driver=gone".to_owned()];
        let value = from_words(&samples::masked(), "0", &arguments).unwrap();
        prop_assert_eq!(&value["name"], &Value::from(text));
    }

    #[test]
    fn an_integer_arrives_as_it_was_written(number in any::<i64>(), large in any::<u64>()) {
        let bps = |text: String| {
            let arguments = [format!("limits.bps={text}"), "driver=gone".to_owned()];
            from_words(&samples::masked(), "0", &arguments).unwrap()["limits"]["bps"].clone()
        };
        prop_assert_eq!(bps(number.to_string()), Value::from(number));
        prop_assert_eq!(bps(large.to_string()), Value::from(large));
        prop_assert_eq!(bps(format!("{large:#x}")), Value::from(large));
    }

    #[test]
    fn json_behind_a_colon_arrives_as_it_was_written(value in values()) {
        let arguments = [format!("name:={value}"), "driver=gone".to_owned()];
        let arrived = from_words(&samples::masked(), "0", &arguments).unwrap();
        prop_assert_eq!(&arrived["name"], &value);
    }

    #[test]
    fn a_list_of_words_arrives_in_its_order_by_commas_and_by_numbers(
        list in prop::collection::vec("[^,]{1,6}", 1..15)) {
        prop_assume!(!list[0].starts_with('['));
        let expected = Value::from(list.clone());
        let commas = [format!("words={}", list.join(",")), "driver=gone".to_owned()];
        prop_assert_eq!(&from_words(&samples::masked(), "0", &commas).unwrap()["words"], &expected);
        let mut numbers: Vec<String> =
            list.iter().enumerate().map(|(index, word)| format!("words.{index}={word}")).collect();
        numbers.reverse();
        numbers.push("driver=gone".to_owned());
        prop_assert_eq!(&from_words(&samples::masked(), "0", &numbers).unwrap()["words"], &expected);
    }
}
