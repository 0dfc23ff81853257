//! TCP ports of the guest's.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use faultvisor_harness::guest::FailureKind;

use crate::under_test::Agent;

/// A server that answers what it has read when its client has ended.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                stream.write_all(b"hello\n").unwrap();
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                stream.write_all(&bytes).unwrap();
            });
        }
    });
    port
}

#[test]
fn a_stream_to_a_port_carries_both_directions_and_their_ends() {
    let agent = Agent::start();
    let mut stream = agent.guest.tcp(echo()).unwrap();
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello\n");
    let bytes: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == bytes);
}

#[test]
fn clients_of_a_forwarded_port_reach_the_guests() {
    let agent = Agent::start();
    let forward = agent.guest.forward(echo()).unwrap();
    let clients = (0..8_u8).map(|number| {
        let address = forward.address();
        thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&[number; 10_000]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            assert_eq!(back, [b"hello\n".as_slice(), &[number; 10_000]].concat());
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    assert_eq!(forward.last_error(), None);
}

#[test]
fn a_port_that_nobody_listens_on_is_named() {
    let agent = Agent::start();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = agent.guest.tcp(port).unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::Refused));
    let expected = format!(
        "connecting to TCP port {port} in the guest: nothing in the guest listens on TCP port {port}"
    );
    assert_eq!(error.to_string(), expected);
    let forward = agent.guest.forward(port).unwrap();
    let mut stream = TcpStream::connect(forward.address()).unwrap();
    let closed = stream.read(&mut [0]);
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert_eq!(forward.last_error(), Some(expected));
}
