//! What an agent says to clients that do not follow the protocol.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::{self, Kind, PAYLOAD_BYTES};
use faultvisor_agent_protocol::hello::{Hello, Versions};
use faultvisor_agent_protocol::request::{Entry, Info, Request};
use faultvisor_agent_protocol::run::{Ending, Exit};

use crate::under_test::Agent;

/// Sends bytes to an agent, and returns why it ends the connection.
fn told(agent: &Agent, bytes: &[u8]) -> Failure {
    let mut stream = UnixStream::connect(agent.socket()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut buffer = Vec::new();
    let hello = frame::read(&mut stream, &mut buffer).unwrap().unwrap();
    hello.message::<Hello>(Kind::Hello).unwrap();
    let failure = frame::read(&mut stream, &mut buffer).unwrap().unwrap();
    let failure = failure.message(Kind::Failure).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    failure
}

fn hello(oldest: u32, newest: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let versions = Versions { oldest, newest };
    let hello = Hello {
        versions,
        ..Hello::of("test 9.9")
    };
    frame::append_message(&mut bytes, Kind::Hello, &hello).unwrap();
    bytes
}

#[test]
fn a_client_without_a_common_version_is_told_both() {
    let agent = Agent::start();
    let failure = told(&agent, &hello(7, 9));
    assert_eq!(failure.kind, FailureKind::Version);
    let expected = "no common version of the agent's protocol: faultvisor-agent 0.1.0 speaks version 1, \
                    test 9.9 versions 7 to 9";
    assert_eq!(failure.message, expected);
}

#[test]
fn what_is_not_the_protocol_is_refused_in_a_line_and_the_agent_goes_on() {
    let agent = Agent::start();
    let mut dance = hello(1, 1);
    frame::append(&mut dance, Kind::Request, b"{\"dance\":{}}").unwrap();
    let mut early = Vec::new();
    frame::append_message(&mut early, Kind::Request, &Request::Info(Info {})).unwrap();
    let mut deep = hello(1, 1);
    frame::append(&mut deep, Kind::Request, &vec![b'['; PAYLOAD_BYTES]).unwrap();
    let mut cut = hello(1, 1);
    cut.extend_from_slice(b"\x09\0\0\0\x02{");
    for (bytes, expected) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "a frame of 542393671 bytes",
        ),
        (
            b"\x01\0\0\0\xc8".to_vec(),
            "a frame of the unknown kind 200",
        ),
        (early, "a frame 'Request' instead of 'Hello'"),
        (
            dance,
            "the payload of a frame 'Request' is malformed: unknown variant `dance`",
        ),
        (deep, "the payload of a frame 'Request' is malformed: "),
    ] {
        let failure = told(&agent, &bytes);
        assert_eq!(failure.kind, FailureKind::Malformed);
        assert!(failure.message.starts_with(expected), "{failure}");
    }
    // One that leaves in the middle is forgotten.
    drop(UnixStream::connect(agent.socket()).map(|mut stream| stream.write_all(&cut)));
    agent.guest.run(["true"]).unwrap().success().unwrap();
}

#[test]
fn connections_are_bounded_and_those_beyond_are_told() {
    let agent = Agent::start();
    let mut silent: Vec<_> = (0..256)
        .map(|_| UnixStream::connect(agent.socket()).unwrap())
        .collect();
    for stream in &mut silent {
        let mut buffer = Vec::new();
        frame::read(stream, &mut buffer).unwrap().unwrap();
    }
    let error = agent.guest.run(["true"]).unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::Busy), "{error}");
    drop(silent);
    // It notices the ends of the others one after the other.
    while let Err(error) = agent.guest.run(["true"]) {
        assert_eq!(error.kind(), Some(FailureKind::Busy), "{error}");
    }
}

#[test]
fn the_messages_of_the_documentation_are_those_of_the_protocol() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/agent.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (mut requests, mut others) = (0, 0);
    let code = page.split("```").skip(1).step_by(2);
    for line in code.flat_map(str::lines).filter(|line| line.ends_with('}')) {
        if let Some(message) = line.strip_prefix("-> {\"protocol\"") {
            let message = format!("{{\"protocol\"{message}");
            serde_json::from_str::<Hello>(&message).unwrap();
        } else if let Some(message) = line.strip_prefix("-> Entry ") {
            serde_json::from_str::<Entry>(message).unwrap();
            others += 1;
        } else if let Some(message) = line.strip_prefix("-> ") {
            serde_json::from_str::<Request>(message).unwrap();
            requests += 1;
        } else if let Some(message) = line.strip_prefix("<- Exit ") {
            serde_json::from_str::<Exit>(message).unwrap();
            others += 1;
        } else if let Some(message) = line.strip_prefix("<- {\"kind\"") {
            let message = format!("{{\"kind\"{message}");
            let failure: Failure = serde_json::from_str(&message).unwrap();
            assert_ne!(failure.kind, FailureKind::Other);
            others += 1;
        }
    }
    assert_eq!((requests, others), (7, 3));
}

#[test]
fn the_example_of_the_documentation_is_what_an_agent_says() {
    let agent = Agent::start();
    let mut stream = UnixStream::connect(agent.socket()).unwrap();
    let mut bytes = hello(1, 1);
    let request = br#"{"run":{"arguments":["sh","-c","echo hello; exit 3"]}}"#;
    frame::append(&mut bytes, Kind::Request, request).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut buffer = Vec::new();
    let mut seen = Vec::new();
    while seen.last() != Some(&Kind::Exit) {
        let frame = frame::read(&mut stream, &mut buffer).unwrap().unwrap();
        seen.push(frame.kind);
        if frame.kind == Kind::Exit {
            let exit: Exit = frame.message(Kind::Exit).unwrap();
            assert_eq!((exit.ending, exit.timed_out), (Ending::Status(3), false));
        }
    }
    assert_eq!(seen, [Kind::Hello, Kind::Answer, Kind::Output, Kind::Exit]);
    frame::write(&mut stream, Kind::Done, &[]).unwrap();
    assert!(frame::read(&mut stream, &mut buffer).unwrap().is_none());
}
