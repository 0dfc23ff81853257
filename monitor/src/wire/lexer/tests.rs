use proptest::prelude::*;

use super::*;

/// What a whole input comes to, in pieces that end at the given places.
fn lex(input: &[u8], cuts: &[usize]) -> Vec<Lexed> {
    let mut lexer = Lexer::default();
    let mut lexed = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        while start < end {
            let (count, message) = lexer.read(&input[start..end]);
            start += count;
            lexed.extend(message);
        }
    }
    lexed
}

fn messages(input: &str) -> Vec<String> {
    let text = |lexed: Lexed| match lexed {
        Ok(message) => String::from_utf8(message).unwrap(),
        Err(error) => format!("error: {error}"),
    };
    lex(input.as_bytes(), &[]).into_iter().map(text).collect()
}

#[test]
fn the_dialect_becomes_json() {
    assert_eq!(
        messages(r#"{'a': 'it\'s "so"', "b": 'x\\\n'}"#),
        [r#"{"a": "it's \"so\"", "b": "x\\\n"}"#]
    );
}

#[test]
fn objects_need_no_newline_between_them() {
    assert_eq!(
        messages("{}{'a':[1,2]}  \r\n{}"),
        ["{}", r#"{"a":[1,2]}"#, "{}"]
    );
}

#[test]
fn brackets_in_strings_are_text() {
    assert_eq!(messages(r#"{"a": "}]\"}"}{}"#), [r#"{"a": "}]\"}"}"#, "{}"]);
}

#[test]
fn tokens_outside_of_brackets_end_at_space_bracket_or_quote() {
    assert_eq!(
        messages("foo {}1.5{}'a''b' }}\n"),
        ["foo", "{}", "1.5", "{}", r#""a""#, r#""b""#, "}}"]
    );
}

#[test]
fn a_message_of_several_lines_becomes_one() {
    assert_eq!(messages("{\n\t'a':\r\n  1\n}"), ["{ \"a\": 1 }"]);
}

#[test]
fn a_control_character_or_ff_forces_the_start_state() {
    for byte in (0..0x20)
        .chain([0xff])
        .filter(|byte| !b"\t\r\n".contains(byte))
    {
        for before in [&b"{'a': "[..], b"{'a", b"[[[", b"tru", b""] {
            let input = [before, &[byte, byte], b"{}"].concat();
            assert_eq!(
                lex(&input, &[]),
                [Err(LexicalError::StrayByte(byte)), Ok(b"{}".to_vec())],
                "{before:?} {byte:#x}"
            );
        }
    }
}

#[test]
fn an_error_in_a_string_costs_that_message_only() {
    assert_eq!(
        messages("{'a\tb': {'x': 1}}{}"),
        [
            "error: JSON parse error, a string may not hold byte 0x09",
            "{}"
        ]
    );
    assert_eq!(
        messages("{'a\n{}"),
        [
            "error: JSON parse error, a string may not hold byte 0x0a",
            "{}"
        ]
    );
}

#[test]
fn nothing_within_a_message_that_failed_is_taken_for_a_message() {
    let deep = format!(
        "{}{{'execute': 'quit'}}{}",
        "[".repeat(1025),
        "]".repeat(1025)
    );
    assert_eq!(lex(deep.as_bytes(), &[]), [Err(LexicalError::TooDeep)]);
    let large = format!(
        "{{'a': '{}', 'b': {{'execute': 'quit'}}}}{{}}",
        "x".repeat(SIZE_LIMIT)
    );
    assert_eq!(
        lex(large.as_bytes(), &[]),
        [Err(LexicalError::TooLarge), Ok(b"{}".to_vec())]
    );
}

#[test]
fn the_limits_themselves_are_within_them() {
    let deep = "[".repeat(NESTING_LIMIT) + &"]".repeat(NESTING_LIMIT);
    assert_eq!(messages(&deep), [deep]);
    let large = format!("['{}']", "x".repeat(SIZE_LIMIT - 4));
    assert!(lex(large.as_bytes(), &[])[0].is_ok());
    let larger = format!("['{}']", "x".repeat(SIZE_LIMIT - 3));
    assert_eq!(lex(larger.as_bytes(), &[]), [Err(LexicalError::TooLarge)]);
}

#[test]
fn a_closing_bracket_of_the_other_kind_ends_the_message() {
    assert_eq!(
        messages("{'a': ]{}"),
        ["error: JSON parse error, ']' closes nothing", "{}"]
    );
}

/// Bytes that bring the lexer into each of its states.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        8 => proptest::sample::select(b"{}[]'\"\\ab1:, \t\r\n".to_vec()),
        1 => any::<u8>(),
    ];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_input_gives_the_same_result(
        input in input(),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let each: Vec<usize> = (0..input.len()).collect();
        let whole = lex(&input, &[]);
        prop_assert_eq!(&lex(&input, &cuts), &whole);
        prop_assert_eq!(&lex(&input, &each), &whole);
    }

    #[test]
    fn after_a_restart_and_a_line_any_input_recovers(input in input()) {
        let input = [&input[..], b"\x01{\"execute\":\"stop\"}"].concat();
        let lexed = lex(&input, &[]);
        prop_assert_eq!(lexed.last(), Some(&Ok(b"{\"execute\":\"stop\"}".to_vec())));
    }

    #[test]
    fn json_passes_unchanged(text in "[a-z0-9 \u{e4}\u{20ac}]{0,20}", number in any::<f64>()) {
        let json = serde_json::json!({"a": [text, number, null], "b": {"c": true}}).to_string();
        prop_assert_eq!(messages(&json), vec![json]);
    }
}
