//! Files of blkdebug's that have a meaning here, and those that have none.

use std::sync::Arc;

use faultvisor_devices::block::fault::engine::{Engine, EngineView};
use faultvisor_devices::block::fault::judgement::Fate;
use faultvisor_devices::block::model::request::{Durability, Operation, Request};
use faultvisor_devices::block::model::segment::Segments;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use faultvisor_devices::block::fault::rule::{complete, rule};

fn shown(text: &str) -> Value {
    let rules = understand(text, "disk0").unwrap();
    let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
    serde_json::to_value(rules).unwrap()
}

fn error(text: &str) -> String {
    let Mistake { line, problem } = understand(text, "disk0").unwrap_err();
    format!("{line}: {problem}")
}

#[test]
fn an_error_has_qemus_defaults() {
    let text = "[inject-error]\nevent = \"read_aio\"\n";
    let expected = json!([{
        "id": "blkdebug-disk0-1", "device": "disk0", "operations": ["read"],
        "action": "error", "errno": 5,
    }]);
    assert_eq!(shown(text), expected);
}

#[test]
fn every_key_has_its_effect() {
    let text = "# A comment\n\n[inject-error \"name\"]\r\n  event = \"write_aio\"\n\
                state = \"2\"\n\terrno=\"28\"   # ENOSPC\nsector = \"0x10\"\nonce = \"on\"\n\
                immediately = \"off\"\niotype = \"write\"\n";
    let expected = json!([{
        "id": "blkdebug-disk0-1", "device": "disk0", "operations": ["write"], "state": "2",
        "sector": 16, "count": 1, "action": "error", "errno": 28,
    }]);
    assert_eq!(shown(text), expected);
}

#[test]
fn any_sector_can_be_said_by_its_number() {
    let text = "[inject-error]\nevent = \"read_aio\"\nsector = \"-1\"\n";
    assert_eq!(shown(text), shown(&text.replace("sector = \"-1\"", "")));
}

#[test]
fn an_error_may_come_late_and_a_delay_alone() {
    let late = |more: &str| {
        let text = format!(
            "[inject-error]\nevent = \"read_aio\"\nonce = \"on\"\ndelay-ns = \"1500\"\n{more}"
        );
        shown(&text)
    };
    let delay = json!({
        "id": "blkdebug-disk0-1-delay", "device": "disk0", "operations": ["read"], "count": 1,
        "action": "delay", "microseconds": 2,
    });
    let error = json!({
        "id": "blkdebug-disk0-1", "device": "disk0", "operations": ["read"], "count": 1,
        "action": "error", "errno": 5,
    });
    assert_eq!(late(""), json!([delay, error]));
    assert_eq!(late("errno = \"0\"\n"), json!([delay]));
}

#[test]
fn each_event_is_about_the_requests_that_raise_it() {
    let operations = |event: &str| {
        let text = format!("[set-state]\nevent = \"{event}\"\nnew_state = \"2\"\n");
        shown(&text)[0]["operations"].clone()
    };
    assert_eq!(operations("read_aio"), json!(["read"]));
    assert_eq!(operations("write_aio"), json!(["write"]));
    assert_eq!(operations("flush_to_os"), json!(["flush"]));
    assert_eq!(operations("flush_to_disk"), json!(["flush"]));
    assert_eq!(operations("pwritev"), json!(["write"]));
    assert_eq!(operations("pwritev_zero"), json!(["write-zeroes"]));
    assert_eq!(operations("pwritev_done"), json!(["write", "write-zeroes"]));
}

#[test]
fn the_event_none_is_about_every_request_in_every_state() {
    let none = |more: &str| shown(&format!("[inject-error]\nevent = \"none\"\n{more}"))[0].clone();
    let all = json!(["read", "write", "flush", "discard", "write-zeroes"]);
    assert_eq!(none("")["operations"], all);
    let discard = none("iotype = \"discard\"\nstate = \"1\"\n");
    assert_eq!(discard["operations"], json!(["discard"]));
    assert_eq!(discard["state"], Value::Null);
}

#[test]
fn states_come_before_errors_and_the_first_of_the_file_wins() {
    let error = |event: &str, errno: u8| {
        format!("[inject-error]\nevent = \"{event}\"\nerrno = \"{errno}\"\n")
    };
    let state =
        |event: &str, new: u8| format!("[set-state]\nevent = \"{event}\"\nnew_state = \"{new}\"\n");
    let text = [
        error("none", 1),
        error("write_aio", 2),
        error("write_aio", 3),
        error("pwritev", 4),
        state("write_aio", 5),
        state("write_aio", 6),
        state("pwritev_done", 7),
    ];
    let rules = shown(&text.concat());
    let of: Vec<_> = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| match &rule["new-state"] {
            Value::String(state) => state.clone(),
            _ => rule["errno"].to_string(),
        })
        .collect();
    // The last state wins, and the first error.
    assert_eq!(of, ["6", "5", "7", "4", "2", "3", "1"]);
    let ids: Vec<_> = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["id"])
        .collect();
    assert_eq!(ids[0], "blkdebug-disk0-6");
    assert_eq!(ids[6], "blkdebug-disk0-1");
}

/// What becomes of writes (`w`) and flushes (`f`), one after the other: the errno of each, or 0.
fn fates(text: &str, requests: &str) -> Vec<i32> {
    let mut engine = Engine::new("disk0", Arc::new(EngineView::default()));
    for (_, mut given) in understand(text, "disk0").unwrap() {
        complete(&mut given, String::new, || 1);
        engine.add(rule(&given, 128).unwrap(), given, Arc::default());
    }
    let fate = |(ordinal, kind)| {
        let operation = match kind {
            'w' => Operation::Write {
                offset: 0,
                durability: Durability::Cached,
            },
            _ => Operation::Flush,
        };
        let segments = Segments::new();
        match engine
            .judge(
                ordinal,
                0,
                &Request {
                    operation,
                    segments,
                },
            )
            .fate
        {
            Fate::Perform => 0,
            Fate::Fail(errno) => errno.0,
            other => panic!("{other:?}"),
        }
    };
    (1..).zip(requests.chars()).map(fate).collect()
}

#[test]
fn the_manuals_example_fails_the_second_write_and_those_behind_it() {
    let text = "[set-state]\nevent = \"write_aio\"\nstate = \"1\"\nnew_state = \"2\"\n\n\
                [inject-error]\nevent = \"write_aio\"\nstate = \"2\"\nerrno = \"5\"\n";
    assert_eq!(fates(text, "wfww"), [0, 0, 5, 5]);
    let once = format!("{text}once = \"on\"\n");
    assert_eq!(fates(&once, "wfww"), [0, 0, 5, 0]);
}

#[test]
fn an_error_does_not_keep_the_state_from_changing() {
    let text = "[inject-error]\nevent = \"write_aio\"\nstate = \"1\"\nerrno = \"28\"\n\
                [set-state]\nevent = \"write_aio\"\nnew_state = \"2\"\n\
                [set-state]\nevent = \"write_aio\"\nnew_state = \"3\"\n\
                [inject-error]\nevent = \"flush_to_disk\"\nstate = \"2\"\n";
    assert_eq!(fates(text, "fwfw"), [0, 28, 5, 0]);
}

#[test]
fn unsupported_entries_are_refused_with_their_line() {
    let inject = |lines: &str| error(&format!("[inject-error]\nevent = \"read_aio\"\n{lines}\n"));
    let event = |kind: &str, event: &str, more: &str| {
        error(&format!("\n[{kind}]\nevent = \"{event}\"\n{more}"))
    };
    let cases = [
        (
            event("inject-error", "l2_load", ""),
            "3: event 'l2_load' has no counterpart here",
        ),
        (
            event("inject-error", "pwritev_done", ""),
            "3: event 'pwritev_done' comes when the request is done, too late to fail it",
        ),
        (
            event("inject-error", "none", "state = \"2\""),
            "3: event 'none' is raised in state 1 only",
        ),
        (
            event("set-state", "none", ""),
            "3: event 'none' has no counterpart for [set-state] here",
        ),
        (error("\n[inject-error]\n"), "2: key 'event' is missing"),
        (
            error("[suspend]\n"),
            "1: unknown section [suspend]: expected [inject-error] or [set-state]",
        ),
        (error("[inject-error\n"), "1: the ']' is missing"),
        (error("[inject-error] x\n"), "1: unexpected 'x'"),
        (
            error("event = \"read_aio\"\n"),
            "1: key 'event' is in no section",
        ),
        (
            inject("evnet = \"read_aio\""),
            "3: unknown key 'evnet'; did you mean 'event'?",
        ),
        (
            inject("event = \"read_aio\""),
            "3: key 'event' is given twice",
        ),
        (
            inject("errno = 5"),
            "3: expected [inject-error], [set-state] or key = \"value\"",
        ),
        (
            inject("errno = \"EIO\""),
            "3: errno is 'EIO': expected a number from 1 to 4095",
        ),
        (
            inject("errno = \"0\""),
            "3: errno is '0': expected a number from 1 to 4095",
        ),
        (
            inject("sector = \"-2\""),
            "3: sector is '-2': expected a number, or -1 for any sector",
        ),
        (
            inject("delay-ns = \"3600000000001\""),
            "3: delay-ns is '3600000000001': expected a number of nanoseconds, at most an hour",
        ),
        (
            inject("once = \"maybe\""),
            "3: once is 'maybe': expected on or off",
        ),
        (
            inject("iotype = \"write\""),
            "3: iotype is 'write': expected read, as the event 'read_aio' has",
        ),
        (
            error("[set-state]\nevent = \"read_aio\"\nerrno = \"5\"\n"),
            "3: unknown key 'errno'",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(
        text in "(\\[inject-error\\]\n|\\[set-state\\]\n|event = \"(none|read_aio|pwritev)\"\n|state = \"[0-9]\"\n|[\\[\\]=\"# \na-z0-9]|\\PC){0,40}",
    ) {
        let _ = understand(&text, "disk0");
    }
}
