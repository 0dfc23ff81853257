//! Valid profiles, and the errors of invalid ones.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::faults::{Target, check, resolve};

/// A profile of that name and text.
fn read(name: &str, text: &str) -> Result<Vec<GivenRule>, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    let within = format!("{}/", directory.path().display());
    let shorten = |error: FaultsError| error.to_string().replace(&within, "");
    let given = profile(&path).map_err(shorten)?;
    check(&given, |id| id == "disk0").map_err(shorten)?;
    resolve(&given, |_| Some(Target::of(128))).map_err(shorten)?;
    Ok(given)
}

fn error(name: &str, text: &str) -> String {
    read(name, text).unwrap_err()
}

const TOML: &str = r#"
# A comment.
[[rule]]
device = "disk0"
action = "error"
errno = "EIO"
seed = 18446744073709551615
operations = ["read"]

[[rule]]
device = "disk0"
action = "delay"
percentiles = [
    { percentile = 50, microseconds = 0x64 },
    { percentile = 100.0, microseconds = 2_000 },
]
"#;

#[test]
fn toml_and_json_say_the_same() {
    let rules = json!([
        { "device": "disk0", "action": "error", "errno": "EIO", "seed": u64::MAX,
          "operations": ["read"] },
        { "device": "disk0", "action": "delay", "percentiles": [
            { "percentile": 50, "microseconds": 100 },
            { "percentile": 100, "microseconds": 2000 },
        ] },
    ]);
    let shown = |name: &str, text: &str| {
        let given = read(name, text).unwrap();
        let rules: Vec<_> = given.into_iter().map(|given| given.rule).collect();
        serde_json::to_value(rules).unwrap()
    };
    let expected = shown("profile.toml", TOML);
    assert_eq!(expected[0]["seed"], json!(u64::MAX));
    assert_eq!(expected[1]["percentiles"][1]["microseconds"], json!(2000));
    assert_eq!(shown("profile.json", &rules.to_string()), expected);
    assert_eq!(shown("profile", &format!("\n {rules}")), expected);
    let object = json!({ "rule": rules }).to_string();
    assert_eq!(shown("profile", &object), expected);
}

#[test]
fn a_rule_says_in_which_line_it_is() {
    let given = read("profile.toml", TOML).unwrap();
    let lines: Vec<_> = given
        .iter()
        .map(|given| {
            given
                .origin
                .to_string()
                .rsplit_once(':')
                .unwrap()
                .1
                .to_owned()
        })
        .collect();
    assert_eq!(lines, ["3", "10"]);
    assert!(read("profile.toml", "").unwrap().is_empty());
    assert!(read("profile.json", "{}").unwrap().is_empty());
    assert!(read("profile", "[ ]").unwrap().is_empty());
}

#[test]
fn a_mistake_in_toml_is_named_with_its_line() {
    let rule = "\n[[rule]]\ndevice = \"disk0\"\naction = \"hang\"\n";
    let with = |line: &str| error("p.toml", &format!("{rule}{line}\n"));
    let cases = [
        (
            with("\n\nprobabilty = 0.5"),
            "p.toml:7: unknown key 'probabilty'; did you mean 'probability'?",
        ),
        (
            with("errno = \"EIO\""),
            "p.toml:5: key 'errno' does not go with the action 'hang'",
        ),
        (
            with("sector = \"5\""),
            "p.toml:2: Invalid parameter type for 'sector', expected: integer",
        ),
        (
            with("probability = 1.5"),
            "p.toml:2: 'probability' is 1.5, which is not from 0 to 1",
        ),
        (
            with("sector = 128"),
            "p.toml:2: sector 128 is not on the disk, which has 128",
        ),
        (
            with("probability = nan"),
            "p.toml:5: nan is not a finite number",
        ),
        (
            with("seed = 18446744073709551616"),
            "p.toml:5: 18446744073709551616 does not fit into 64 bits",
        ),
        (
            with("state = 2026-01-01"),
            "p.toml:5: no member of a rule is a date",
        ),
        (with("action = \"stop\""), "p.toml:5: duplicate key"),
        (
            error("p.toml", "[[rules]]\n"),
            "p.toml:1: unknown key 'rules'; did you mean 'rule'?",
        ),
        (
            error("p.toml", "\n[rule]\naction = \"hang\"\n"),
            "p.toml:2: rules are tables [[rule]]",
        ),
        (
            error("p.toml", "\nrule = [1]\n"),
            "p.toml:2: rules are tables [[rule]]",
        ),
        (
            error("p.toml", &rule.replace("disk0", "disk1")),
            "p.toml:2: there is no drive 'disk1'",
        ),
        (
            error("p.toml", &format!("{rule}id = \"a\"\n{rule}id = \"a\"")),
            "p.toml:7: the id 'a' is that of another rule (p.toml:2)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
    assert!(error("p.toml", "\n\n[[rule]]\nseed = \n").starts_with("p.toml:4: "));
}

#[test]
fn a_mistake_in_json_is_named_with_its_line() {
    let with = |member: &str| {
        let text = format!("[\n{{ \"device\": \"disk0\",\n\"action\": \"hang\",\n{member}\n}}\n]");
        error("p.json", &text)
    };
    let cases = [
        (
            with("\"probabilty\": 0.5"),
            "p.json:4: unknown key 'probabilty'; did you mean 'probability'?",
        ),
        (
            with("\"sector\": \"5\""),
            "p.json:2: Invalid parameter type for 'sector', expected: integer",
        ),
        (
            with("\"count\": 0"),
            "p.json:2: 'count' is 0, which lets the rule never fire",
        ),
        (
            with("\"device\":\n\"disk0\""),
            // Where the object ends.
            "p.json:6: duplicate key 'device'",
        ),
        (with("\"seed\": 1,"), "p.json:5: trailing comma"),
        (
            error("p.json", "{ \"rules\":\n[] }"),
            "p.json:2: unknown key 'rules'; did you mean 'rule'?",
        ),
        (
            error("p.json", "{ \"rule\":\n5 }"),
            "p.json:2: rules are a list of objects",
        ),
        (
            error("p.json", "[\n5]"),
            "p.json:2: rules are a list of objects",
        ),
        (error("p.json", ""), "p.json:1: EOF while parsing a value"),
        (
            with("\"probability\": 1e999"),
            "p.json:4: number out of range",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
}

#[test]
fn every_profile_that_comes_with_the_program_can_be_used() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../resources/profiles");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let given = profile(&path).unwrap();
        assert!(!given.is_empty(), "{path:?}");
        check(&given, |id| id == "disk0").unwrap();
        // A disk of 8 MiB is large enough for all.
        resolve(&given, |_| Some(Target::of(16384))).unwrap();
        count += 1;
    }
    assert_eq!(count, 7);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(\\[\\[rule\\]\\]|[\\[\\]{}\",=.\n 0-9a-z]|\\PC){0,60}") {
        let origin = |line| Origin::File { path: PathBuf::new(), line: Some(line) };
        let _ = understand(&text, false, origin);
        let _ = understand(&text, true, origin);
    }
}
