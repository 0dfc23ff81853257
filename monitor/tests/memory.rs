//! The memory cost of clients that never read, in a process of its own.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use faultvisor_monitor::Monitor;
use support::{Client, PATIENCE, Server};

const CLIENTS: usize = 60;

/// This process's resident private memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Sends until no client's input is read any more, while another client is served.
fn fill(server: &Server, clients: &mut [Client], request: &[u8]) {
    let mut witness = server.quiet_client();
    loop {
        let mut sent = 0;
        for client in &mut *clients {
            match client.stream.write(request) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        witness.execute("query-status");
        if sent == 0 {
            return;
        }
    }
}

#[test]
fn clients_that_never_read_cost_little_together_and_nothing_when_they_are_gone() {
    // Disconnected clients keep their places until their requests are executed.
    let server = Server::with(Monitor::builder().session_limit(1000));
    // The long answer is made once.
    server.quiet_client().execute("query-qmp-schema");
    let before = resident();
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
        for client in &clients {
            client.stream.set_nonblocking(true).unwrap();
        }
        let request = b"{'execute':'query-qmp-schema'}".repeat(64);
        fill(&server, &mut clients, &request);
        let cost = resident().saturating_sub(before);
        assert!(cost < 64 << 20, "{cost} bytes");
        // A client that reads is served.
        assert!(server.quiet_client().execute("query-qmp-schema").is_array());
        drop(clients);
        let deadline = Instant::now() + PATIENCE;
        let mut left = usize::MAX;
        let mut witness = server.quiet_client();
        while left >= 12 << 20 && Instant::now() < deadline {
            witness.execute("query-status");
            left = resident().saturating_sub(before);
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert!(left < 12 << 20, "{left} bytes are not given back");
    }
}
