//! Servers that are broken or hostile, users' code that panics, and durations beyond all time.

// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use libqmp::{Error, Session};
use serde_json::json;
use support::{PATIENCE, Scripted, Server, options, scripted};

/// What `work` returns, unless it takes for ever.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    thread::spawn(move || done.send(work()));
    match result.recv_timeout(Duration::from_secs(15)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it waits for ever"),
        Err(RecvTimeoutError::Disconnected) => panic!("it panicked"),
    }
}

/// A session that knows no events' names but these; call it while the server answers.
fn schema(server: &mut Scripted) {
    server.answer(
        "{\"return\": [{\"name\": \"STOP\", \"meta-type\": \"event\"}, \
         {\"name\": \"RESUME\", \"meta-type\": \"event\"}]",
    );
}

const STOP: &str = "{\"event\": \"STOP\"}\r\n";

#[test]
fn a_time_without_end_is_a_time() {
    let server = Server::new();
    let session = Session::options()
        .within(Duration::MAX)
        .timeout(Duration::MAX)
        .connect(&server.address())
        .unwrap();
    assert!(session.query_status().is_ok());
}
