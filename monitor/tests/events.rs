//! docs/protocol.md, section 4: events.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use faultvisor_monitor::Monitor;
use faultvisor_schema::Event;
use support::{Server, io_error};

fn names(messages: &[serde_json::Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["event"].as_str().unwrap())
        .collect()
}

#[test]
fn default_events_arrive_without_asking_and_without_a_tag() {
    let server = Server::new();
    let mut client = server.client();
    server.signals.raise(Event::Stop);
    server.signals.raise(Event::Resume);
    let said = client.until_now();
    assert_eq!(names(&said), ["STOP", "RESUME"]);
    assert!(said.iter().all(|event| event.get("tag").is_none()));
    assert!(
        said[0]["timestamp"]["seconds"].is_i64() && said[0]["timestamp"]["microseconds"].is_i64()
    );
    assert!(said[0].get("data").is_none());
}

#[test]
fn no_event_arrives_before_negotiation() {
    let server = Server::new();
    let mut client = server.greeted();
    let mut other = server.client();
    server.signals.raise(Event::Stop);
    other.until_now();
    client.execute("qmp_capabilities");
    assert!(client.until_now().is_empty());
}

#[test]
fn disable_default_events_leaves_the_session_without_them() {
    let server = Server::new();
    let mut client = server.quiet_client();
    server.signals.raise(Event::Stop);
    assert!(client.until_now().is_empty());
}

#[test]
fn default_io_errors_are_thinned_for_each_path_and_tagged_ones_never() {
    let server = Server::with(Monitor::builder().default_event_interval(Duration::from_secs(3600)));
    let mut default = server.client();
    let mut connected = server.quiet_client();
    let handle = connected.execute("get-block-io-error-event");
    for number in 0..5 {
        server.signals.raise(io_error("disk0", &number.to_string()));
        server.signals.raise(io_error("disk1", &number.to_string()));
    }
    let said = default.until_now();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0]["data"]["device"], "disk0");
    assert_eq!(said[1]["data"]["device"], "disk1");
    let said = connected.until_now();
    assert_eq!(said.len(), 10);
    assert!(said.iter().all(|event| event["tag"] == handle));
}

#[test]
fn the_last_default_io_error_within_the_interval_comes_at_its_end() {
    let server =
        Server::with(Monitor::builder().default_event_interval(Duration::from_millis(200)));
    let mut client = server.client();
    for number in 0..5 {
        server.signals.raise(io_error("disk0", &number.to_string()));
    }
    // At any speed, the first event arrives first and the last one last.
    assert_eq!(client.read()["data"]["reason"], "0");
    while client.read()["data"]["reason"] != "4" {}
}

#[test]
fn an_io_error_with_action_stop_comes_before_stop() {
    let server = Server::unlimited();
    let mut client = server.client();
    server
        .signals
        .raise(io_error("disk0", "No space left on device"));
    server.signals.raise(Event::Stop);
    assert_eq!(names(&client.until_now()), ["BLOCK_IO_ERROR", "STOP"]);
}

#[test]
fn a_client_that_never_reads_delays_no_other_and_gets_its_losses_reported() {
    const EVENTS: u64 = 20_000;
    let server = Server::with(
        Monitor::builder()
            .default_event_interval(Duration::ZERO)
            .output_limit(64 * 1024),
    );
    let mut sleeper = server.quiet_client();
    let handle = sleeper.execute("get-block-io-error-event");
    let mut reader = server.quiet_client();
    for number in 0..EVENTS {
        server.signals.raise(io_error("disk0", &number.to_string()));
    }
    reader.until_now();
    server.signals.raise(Event::Stop);
    // Now it reads: each event is there, in order, or counted at its place.
    sleeper.send("{'execute': 'query-status', 'id': 'end'}");
    let (mut next, mut lost) = (0, 0);
    while next < EVENTS {
        let message = sleeper.read();
        if message["id"] == "end" {
            continue;
        }
        assert_eq!(message["tag"], handle, "{message}");
        if message["event"] == "EVENTS_LOST" {
            assert_eq!(message["data"]["event"], "BLOCK_IO_ERROR");
            let count = message["data"]["count"].as_u64().unwrap();
            next += count;
            lost += count;
        } else {
            assert_eq!(message["data"]["reason"], next.to_string());
            next += 1;
        }
    }
    assert_eq!(next, EVENTS);
    assert!(lost > 0, "the output was never full");
}

#[test]
fn nothing_is_lost_silently_when_the_monitor_itself_is_behind() {
    // No room for a single event between the raiser and the monitor's thread.
    let server = Server::with(Monitor::builder().event_limit(0));
    let mut client = server.client();
    server.signals.raise(Event::Stop);
    let said = client.until_now();
    assert_eq!(names(&said), ["EVENTS_LOST"]);
    assert_eq!(said[0]["data"]["event"], "STOP");
    assert_eq!(said[0]["data"]["count"], 1);
}

#[test]
fn an_answer_that_an_event_has_overtaken_is_not_given() {
    let server = Server::new();
    let mut client = server.client();
    let (signals, running) = (server.signals.clone(), Arc::clone(&server.running));
    *server.meanwhile.lock().unwrap() = Some(Box::new(move || {
        running.store(false, Ordering::SeqCst);
        signals.raise(Event::Stop);
    }));
    client.send("{'execute': 'query-status'}");
    // The machine has stopped: the concurrent answer would say `running` after the event.
    assert_eq!(client.read()["event"], "STOP");
    assert_eq!(client.read()["return"]["running"], false);
}

#[test]
fn a_burst_is_not_lost_to_a_client_that_reads() {
    const EVENTS: usize = 50_000;
    let server = Server::new();
    let mut client = server.quiet_client();
    client.execute("get-block-io-error-event");
    let signals = server.signals.clone();
    let raiser = std::thread::spawn(move || {
        for number in 0..EVENTS {
            signals.raise(io_error("disk0", &number.to_string()));
        }
    });
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < EVENTS {
        let message = client.read();
        match message["event"].as_str() {
            Some("EVENTS_LOST") => {
                let count = message["data"]["count"].as_u64().unwrap();
                lost += usize::try_from(count).unwrap();
            }
            _ => {
                let number = (heard + lost).to_string();
                assert_eq!(message["data"]["reason"], number);
                heard += 1;
            }
        }
    }
    raiser.join().unwrap();
    // The reader's speed depends on the host; most events arrive.
    assert!(heard > EVENTS / 2, "{heard} heard, {lost} lost");
}

#[test]
fn lost_default_events_are_reported_without_a_tag() {
    const EVENTS: u64 = 20_000;
    let server = Server::with(Monitor::builder().output_limit(64 * 1024));
    let mut client = server.client();
    for _ in 0..EVENTS {
        server.signals.raise(Event::Resume);
    }
    let (mut told, mut lost) = (0, 0);
    while told + lost < EVENTS {
        let message = client.read();
        assert_eq!((message.get("tag"), message.get("id")), (None, None));
        if message["event"] == "EVENTS_LOST" {
            assert_eq!(message["data"]["event"], "RESUME");
            assert_eq!(message.get("timestamp"), None);
            lost += message["data"]["count"].as_u64().unwrap();
        } else {
            told += 1;
        }
    }
    assert_eq!(told + lost, EVENTS);
}
