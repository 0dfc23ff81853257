//! Calls: typed, pipelined, refused, and cut off.

// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use faultvisor_schema::{CommandError, Empty, MachineCommand, MachineReturn};
use libqmp::{
    BlockResizeArguments, Closing, Error, ErrorClass, PutEventArguments, RunState, Session,
};
use serde_json::json;
use support::{Server, options, scripted};

#[test]
fn a_command_is_a_function_with_types() {
    let server = Server::new();
    let session = server.session();
    assert!(session.has_accessors());
    assert!(session.greeting().version.package.starts_with("faultvisor"));
    assert_eq!(session.query_status().unwrap().status, RunState::Running);
    let arguments = BlockResizeArguments {
        device: Some("disk0".to_owned()),
        ..BlockResizeArguments::new(4096)
    };
    thread::scope(|scope| {
        let call = scope.spawn(|| session.block_resize(&arguments));
        let (command, reply) = server.commands.recv().unwrap();
        assert_eq!(command, MachineCommand::BlockResize(arguments.clone()));
        reply.send(Ok(MachineReturn::Empty(Empty {})));
        call.join().unwrap().unwrap();
    });
}

#[test]
fn a_refusal_has_its_class_and_its_text() {
    let server = Server::new();
    let session = server.session();
    let error = session
        .put_event(&PutEventArguments { tag: 7 })
        .unwrap_err();
    assert_eq!(error.class(), Some(&ErrorClass::InvalidParameterValue));
    assert_eq!(
        error.desc(),
        Some("Parameter 'tag' expects a valid event handle")
    );
    let error = session.execute_raw("no-such-command", None).unwrap_err();
    assert_eq!(error.class(), Some(&ErrorClass::CommandNotFound));
}

#[test]
fn commands_that_the_schema_does_not_know_can_be_executed() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        server.answer("{\"return\": [1, {\"odd\": null}]")
    });
    let session = options().connect(&address).unwrap();
    let answer = session.execute_raw("x-odd", Some(json!({"a": 1}))).unwrap();
    assert_eq!(answer, json!([1, {"odd": null}]));
    let request = server.join().unwrap();
    assert_eq!(
        (&request["execute"], &request["arguments"]),
        (&json!("x-odd"), &json!({"a": 1}))
    );
}

#[test]
fn calls_of_many_threads_are_in_flight_together() {
    const THREADS: usize = 8;
    let server = Server::new();
    let session = server.session();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| session.system_reset()))
            .collect();
        // One is executed at a time. An out-of-band command overtakes the others, and every thread gets its own answer.
        let (_, first) = server.commands.recv().unwrap();
        let oob = session.execute_raw_out_of_band("get-stop-event", None);
        assert!(oob.unwrap().is_i64());
        first.send(Err(CommandError::generic("the first")));
        for _ in 1..THREADS {
            server
                .commands
                .recv()
                .unwrap()
                .1
                .send(Ok(MachineReturn::Empty(Empty {})));
        }
        let failed = calls
            .into_iter()
            .map(|call| call.join().unwrap())
            .filter(Result::is_err)
            .count();
        assert_eq!(failed, 1);
    });
}

#[test]
fn every_waiting_call_fails_at_once_when_the_connection_is_lost() {
    const THREADS: usize = 5;
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        for _ in 0..THREADS {
            server.hear();
        }
    });
    let session = Session::connect(&address).unwrap();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| session.query_block()))
            .collect();
        for call in calls {
            let error = call.join().unwrap().unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Closed {
                        why: Closing::ByServer,
                        ..
                    }
                ),
                "{error}"
            );
        }
    });
    server.join().unwrap();
    // So does every later one.
    assert!(matches!(session.query_block(), Err(Error::Closed { .. })));
}

#[test]
fn closing_ends_calls_of_other_threads() {
    let server = Server::new();
    let session = Session::connect(&server.address()).unwrap();
    let begins = Barrier::new(2);
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            begins.wait();
            session.system_reset()
        });
        begins.wait();
        // Once the server has received it, it waits for its answer.
        let _unanswered = server.commands.recv().unwrap();
        session.close();
        let error = call.join().unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Closed {
                    why: Closing::ByClient,
                    ..
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn a_late_answer_is_ignored() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        let late: serde_json::Value = serde_json::from_str(&server.hear()).unwrap();
        loop {
            let line = server.hear();
            if line.is_empty() {
                return;
            }
            let request: serde_json::Value = serde_json::from_str(&line).unwrap();
            server.say(&format!("{{\"return\": 1, \"id\": {}}}\r\n", late["id"]));
            server.say(&format!("{{\"return\": 2, \"id\": {}}}\r\n", request["id"]));
        }
    });
    let session = Session::options()
        .timeout(Duration::from_millis(50))
        .connect(&address)
        .unwrap();
    let error = session.execute_raw("slow", None).unwrap_err();
    assert_eq!(error.to_string(), "no answer to 'slow' within 50ms");
    // On a busy machine the next one may be late, too.
    let mut answer = session.execute_raw("quick", None);
    while matches!(answer, Err(Error::TimedOut { .. })) {
        answer = session.execute_raw("quick", None);
    }
    assert_eq!(answer.unwrap(), 2);
    drop(session);
    server.join().unwrap();
}

#[test]
fn a_mismatched_answer_is_an_error_that_names_the_member() {
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        server.answer("{\"return\": {\"status\": \"running\"}");
        server.answer("{\"return\": {\"status\": \"dreaming\", \"running\": true}");
        server.answer("{\"error\": 7");
        server.answer("{\"return\": {\"status\": \"running\", \"running\": true, \"more\": 1}");
    });
    let session = options().connect(&address).unwrap();
    let said = |session: &Session| session.query_status().unwrap_err().to_string();
    let head = "the answer to 'query-status' does not fit its type: ";
    assert_eq!(said(&session), format!("{head}Member 'running' is missing"));
    assert_eq!(
        said(&session),
        format!("{head}Member 'status' does not accept value 'dreaming'")
    );
    assert_eq!(
        said(&session),
        format!("{head}7 has no class and no description")
    );
    // An answer with unknown members matches.
    assert!(session.query_status().unwrap().running);
}

#[test]
fn a_violation_of_the_protocol_ends_the_connection() {
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        server.hear();
        server.say("what?\u{7}\r\n");
        server.hear()
    });
    let session = options().connect(&address).unwrap();
    let error = session.query_status().unwrap_err().to_string();
    assert!(
        error.contains("the server broke the protocol: a line that is no message"),
        "{error}"
    );
    assert!(error.ends_with("what?\u{fffd}"), "{error}");
}
