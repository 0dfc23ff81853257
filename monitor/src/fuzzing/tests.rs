use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// What a client might send, whole or not.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let words = prop::sample::select(vec![
        "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob', 'subscribe', 'class-hints']}}",
        "{'execute': 'stop', 'id': ",
        "{'exec-oob': 'put-event', 'arguments': {'tag': 1}}",
        "{'execute': 'get-stop-event'}",
        "{'subscribe': 'STOP', 'id': [1, {}]}",
        "{\"jsonrpc\": \"2.0\", \"method\": \"stop\", \"id\": 1}",
        "{\"jsonrpc\": \"2.0\", \"method\": \"get-stop-event\", \"params\": {\"initial\": true}, \"id\": 2}",
        "{\"jsonrpc\": \"2.0\", \"method\": ",
        "PATCH / HTTP/1.1\r\n",
        "\u{feff}",
        "\u{1}",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        ", ",
        ": ",
        "1e9",
        "null",
        "\n",
        "\u{e4}",
    ]);
    let piece = prop_oneof![
        1 => bytes,
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
    ];
    let begin = prop::sample::select(vec!["", "{}", "{", "[]", "\r\n", "\u{1}", "PUT "]);
    (begin, proptest::collection::vec(piece, 0..30))
        .prop_map(|(begin, pieces)| [begin.as_bytes(), &pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_division_of_the_input_gives_the_same_messages(input in input()) {
        super::lexer(&input);
    }

    #[test]
    fn every_message_is_answered_once_and_a_restart_is_always_possible(input in input()) {
        super::session(&input);
    }

    #[test]
    fn every_line_in_json_rpc_is_a_response_or_a_notification(input in input()) {
        super::json_rpc(&input);
    }
}

/// What asks the machine for something, in the protocol that it is meant for.
fn commands(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Qmp => "{'execute': 'qmp_capabilities'}{'execute': 'stop'}",
        Protocol::JsonRpc => r#"{"jsonrpc": "2.0", "method": "stop", "id": 1}"#,
    }
}

/// An HTTP request as curl and browsers write it, with commands wherever a page may put some.
fn http(method: &str, commands: &str) -> Vec<u8> {
    let mut text = format!("{method} /{{}} HTTP/1.1\r\n");
    for header in [
        "Host: localhost:4444",
        "Accept: */*",
        "Content-Type: text/plain",
    ] {
        let _ = write!(text, "{header}\r\n");
    }
    let length = commands.len();
    let _ = write!(
        text,
        "X: {commands}\r\nContent-Length: {length}\r\n\r\n{commands}"
    );
    text.into_bytes()
}

/// A TLS ClientHello whose length, session ID and server name are chosen by a page.
fn client_hello(length: u8, commands: &str) -> Vec<u8> {
    let head = [0x16, 3, 1, 0, length, 1, 0, 0, length, 3, 3];
    let random = [0xb5; 32];
    [&head[..], &random, &[32], commands.as_bytes()].concat()
}

/// Beginnings that a page can cause, or that are no session's for another reason.
fn beginnings_of_others(commands: &str) -> Vec<Vec<u8>> {
    let methods = [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "patch",
        "PROPFIND",
        "FOO",
        "null",
        "true",
        "1",
        "-1",
        "'",
        "!#$%&*+.^_`|~",
        "PRI",
    ];
    let mut all: Vec<Vec<u8>> = methods
        .iter()
        .map(|method| http(method, commands))
        .collect();
    all.extend(
        ["\r\n", " \t", "\n\n"].map(|space| [space.as_bytes(), &http("POST", commands)].concat()),
    );
    all.extend([0, b'{', b'[', 0xff].map(|length| client_hello(length, commands)));
    all.extend(
        [
            "\u{feff}", "\"\"", "}", "]", ":", ",", "help\n", "\u{e4}", "'a'",
        ]
        .map(|other| format!("{other}{commands}").into_bytes()),
    );
    all
}

/// Sends an input in the given pieces, and returns what is told, whether the session is over, and what the machine was
/// asked.
fn told<'a>(
    protocol: Protocol,
    rule: OpeningRule,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, bool, usize) {
    let mut exchange = Exchange::begin(protocol, rule);
    for piece in pieces {
        exchange.send_whole(piece);
    }
    exchange.turn();
    let asked = exchange.held.lock().unwrap().len();
    let (lines, over) = exchange.finish();
    (lines, over, asked)
}

/// Checks an input in one piece, in two, cut anywhere, and byte by byte.
fn in_every_cut(input: &[u8], mut check: impl FnMut(Vec<&[u8]>)) {
    check(vec![input]);
    check(input.chunks(1).collect());
    for cut in 1..input.len() {
        check(vec![&input[..cut], &input[cut..]]);
    }
}

#[test]
fn a_foreign_opening_ends_the_session_with_nothing_executed() {
    for protocol in [Protocol::Qmp, Protocol::JsonRpc] {
        for input in beginnings_of_others(commands(protocol)) {
            for rule in [OpeningRule::Strict, OpeningRule::Restartable] {
                in_every_cut(&input, |pieces| {
                    let name = String::from_utf8_lossy(&input).into_owned();
                    let (lines, over, asked) = told(protocol, rule, pieces);
                    assert_eq!((over, asked), (true, 0), "{rule:?} {name}: {lines:?}");
                    let returned = ["return", "result"].map(|member| format!("\"{member}\""));
                    assert!(
                        !lines
                            .iter()
                            .any(|line| returned.iter().any(|word| line.contains(word))),
                        "{name}: {lines:?}"
                    );
                    let greeting = usize::from(protocol == Protocol::Qmp);
                    assert!(
                        rule == OpeningRule::Restartable || lines.len() == greeting,
                        "{name}: {lines:?}"
                    );
                });
            }
        }
    }
}

#[test]
fn a_valid_opening_is_served() {
    for protocol in [Protocol::Qmp, Protocol::JsonRpc] {
        let commands = commands(protocol);
        let space = format!("\r\n\t {commands}");
        let http_later = [commands.as_bytes(), b"\r\n", &http("POST", "")].concat();
        for rule in RULES {
            for input in [commands.as_bytes(), space.as_bytes(), &http_later] {
                in_every_cut(input, |pieces| {
                    let (lines, over, asked) = told(protocol, rule, pieces);
                    assert_eq!((over, asked), (false, 1), "{rule:?}: {lines:?}");
                });
            }
        }
    }
}

#[test]
fn a_client_on_a_unix_socket_may_begin_with_bytes_that_restart() {
    for protocol in [Protocol::Qmp, Protocol::JsonRpc] {
        let commands = commands(protocol).as_bytes();
        let cut_off = &commands[..9];
        for before in [
            &b"\xff"[..],
            b"\x01\n\x02",
            &[cut_off, b"\xff\xff"].concat(),
        ] {
            let input = [before, commands].concat();
            in_every_cut(&input, |pieces| {
                let (lines, over, asked) = told(protocol, OpeningRule::Restartable, pieces);
                assert_eq!((over, asked), (false, 1), "{before:?}: {lines:?}");
            });
        }
        // What was cut off does not count as a beginning.
        for begun in [&b"{"[..], b"{\"a\": "] {
            let input = [begun, b"\x01POST ", commands].concat();
            in_every_cut(&input, |pieces| {
                let (lines, over, asked) = told(protocol, OpeningRule::Restartable, pieces);
                assert_eq!((over, asked), (true, 0), "{lines:?}");
            });
        }
    }
}

#[test]
fn the_first_byte_decides_whatever_it_is() {
    for protocol in [Protocol::Qmp, Protocol::JsonRpc] {
        for first in 0..=u8::MAX {
            let input = [&[first], commands(protocol).as_bytes()].concat();
            let space = b" \t\r\n".contains(&first);
            let (_, over, _) = told(protocol, OpeningRule::Strict, [input.as_slice()]);
            let opens = first == b'{' || (first == b'[' && protocol == Protocol::JsonRpc);
            assert_eq!(over, !space && !opens, "{first:#x}");
        }
    }
}
