//! What an agent says to clients that do not follow the protocol.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::{self, Kind, PAYLOAD_BYTES};
use faultvisor_agent_protocol::hello::{Hello, Versions};
use faultvisor_agent_protocol::request::{Info, Request};

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
