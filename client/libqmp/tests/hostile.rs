//! Broken and hostile servers, users' code that panics, and durations that exceed the clock.

// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use libqmp::{Error, Session};
use rustix::process::Pid;
use rustix::thread::gettid;
use serde_json::json;
use support::{PATIENCE, Scripted, Server, options, scripted};

/// The result of `work`, which must not take for ever.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    thread::spawn(move || done.send(work()));
    match result.recv_timeout(Duration::from_secs(15)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it waits for ever"),
        Err(RecvTimeoutError::Disconnected) => panic!("it panicked"),
    }
}

/// Answers the query for events' names with these only; runs while the session asks.
fn schema(server: &mut Scripted) {
    server.answer(
        "{\"return\": [{\"name\": \"STOP\", \"meta-type\": \"event\"}, \
         {\"name\": \"RESUME\", \"meta-type\": \"event\"}]",
    );
}

const STOP: &str = "{\"event\": \"STOP\"}\r\n";

#[test]
fn the_longest_duration_is_a_valid_limit() {
    let server = Server::new();
    let session = Session::options()
        .within(Duration::MAX)
        .timeout(Duration::MAX)
        .connect(&server.address())
        .unwrap();
    assert!(session.query_status().is_ok());
}

/// Sends one line until the client is gone: more than a client takes that looks at each for a while.
fn flood(server: &mut Scripted) {
    let padding = " ".repeat(8 << 10);
    let event = format!("{{\"event\": \"RESUME\"{padding}}}\r\n");
    while server.stream.write_all(event.as_bytes()).is_ok() {}
}

#[test]
fn a_call_times_out_during_a_flood_of_events() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        flood(server);
    });
    let session = Session::options()
        .timeout(Duration::from_millis(100))
        .observe(|_, _| thread::sleep(Duration::from_millis(1)))
        .connect(&address)
        .unwrap();
    let error = in_time(move || session.query_status().unwrap_err());
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn try_recv_returns_during_a_flood() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        schema(server);
        flood(server);
    });
    let session = options()
        .observe(|_, _| thread::sleep(Duration::from_millis(1)))
        .connect(&address)
        .unwrap();
    let events = session.get_stop_event().unwrap();
    drop(session);
    in_time(move || assert!(events.try_recv().unwrap().is_none()));
    server.join().unwrap();
}

#[test]
fn a_greeting_times_out_during_a_flood() {
    let (address, server, _directory) = scripted(|server| {
        let nothing = "\r\n".repeat(100_000);
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut stream = server.stream.try_clone().unwrap();
                let nothing = nothing.as_bytes();
                scope.spawn(move || while stream.write_all(nothing).is_ok() {});
            }
        });
    });
    let options = Session::options().within(Duration::from_millis(200));
    let error = in_time(move || options.connect(&address).unwrap_err());
    assert!(matches!(error, Error::NoGreeting { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn an_event_during_negotiation_is_not_taken_for_an_answer() {
    let (address, server, _directory) = scripted(|server| {
        server.say(support::NEGOTIATED[0]);
        server.hear();
        server.say(support::NEGOTIATED[1]);
        server.hear();
        server.say(STOP);
        server.say(support::NEGOTIATED[2]);
    });
    options().connect(&address).unwrap();
    server.join().unwrap();
}

/// Waits until a thread of this process sleeps.
fn until_asleep(thread: Pid) {
    let stat = format!("/proc/self/task/{thread}/stat");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stat = std::fs::read_to_string(&stat).unwrap();
        // The state follows the name, which is in parentheses.
        if stat.rsplit_once(") ").unwrap().1.starts_with('S') {
            return;
        }
        assert!(Instant::now() < deadline, "it does not wait");
        thread::yield_now();
    }
}

#[test]
fn a_server_that_closes_its_input_ends_a_wait_for_events() {
    let (go, gone) = channel::<()>();
    let (deaf, is_deaf) = channel();
    let (address, server, _directory) = scripted(move |server| {
        server.negotiate();
        schema(server);
        server.say(STOP);
        server.stream.shutdown(Shutdown::Read).unwrap();
        deaf.send(()).unwrap();
        // Sends nothing more, and keeps the connection open.
        let _ = gone.recv();
    });
    let session = Session::connect(&address).unwrap();
    let events = session.get_stop_event().unwrap();
    let (heard, hears) = channel();
    let listens = thread::spawn(move || {
        events.recv().unwrap();
        heard.send(gettid()).unwrap();
        events.recv().unwrap_err()
    });
    let listener = hears.recv().unwrap();
    is_deaf.recv().unwrap();
    until_asleep(listener);
    let error = session.query_status().unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    let error = in_time(move || listens.join().unwrap());
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    drop(go);
    server.join().unwrap();
}

#[test]
fn a_panic_of_a_handler_does_not_end_others() {
    let server = Server::new();
    let session = server.session();
    let first = session.get_block_io_error_event().unwrap();
    let second = session.get_block_io_error_event().unwrap();
    first.connect(|_| panic!("as a handler may")).unwrap();
    let (heard, hears) = channel();
    second
        .connect(move |error| heard.send(error.reason.clone()).unwrap())
        .unwrap();
    server.fail("disk0", 1);
    server.fail("disk0", 2);
    assert_eq!(hears.recv_timeout(PATIENCE).as_deref(), Ok("1"));
    assert_eq!(hears.recv_timeout(PATIENCE).as_deref(), Ok("2"));
}

#[test]
fn after_a_panic_the_next_dispatch_runs_the_remaining_handlers() {
    let server = Server::new();
    let session = options().manual_dispatch().connect(&server.address());
    let session = session.unwrap();
    let events = session.get_block_io_error_event().unwrap();
    events
        .connect(|error| assert_ne!(error.reason, "1"))
        .unwrap();
    server.fail("disk0", 1);
    server.fail("disk0", 2);
    session.query_status().unwrap();
    let dispatch = std::panic::AssertUnwindSafe(|| session.dispatch());
    assert!(std::panic::catch_unwind(dispatch).is_err());
    assert!(is_readable(&session));
    assert_eq!(session.dispatch().unwrap(), 1);
}

fn is_readable(session: &Session) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = session.as_fd();
    let none = Timespec::default();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&none)).unwrap() == 1
}

#[test]
fn dispatch_reports_an_end_that_arrived_with_events() {
    let (go, gone) = channel::<()>();
    let (address, server, _directory) = scripted(move |server| {
        server.negotiate();
        schema(server);
        server.say(&format!("{STOP}nonsense\r\n"));
        let _ = gone.recv();
    });
    let session = options().manual_dispatch().connect(&address).unwrap();
    let events = session.get_stop_event().unwrap();
    events.connect(|_| ()).unwrap();
    let mut handed_on = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if !is_readable(&session) {
            thread::yield_now();
            continue;
        }
        match session.dispatch() {
            Ok(count) => handed_on += count,
            Err(error) => {
                assert!(matches!(error, Error::Closed { .. }), "{error}");
                assert_eq!(handed_on, 1);
                drop(go);
                server.join().unwrap();
                return;
            }
        }
    }
    panic!("nobody tells of the end");
}

#[test]
fn without_a_thread_a_wait_receives_what_handlers_left() {
    let server = Server::new();
    let session = options().manual_dispatch().connect(&server.address());
    let session = session.unwrap();
    let events = std::sync::Arc::new(session.get_block_io_error_event().unwrap());
    let other = session.get_block_io_error_event().unwrap();
    let handler = events.connect(|_| ()).unwrap();
    let waits = std::sync::Arc::clone(&events);
    let (begun, begins) = channel();
    let waits = thread::spawn(move || {
        begun.send(gettid()).unwrap();
        waits.recv().unwrap().reason.clone()
    });
    server.fail("disk0", 1);
    // The event has arrived and belongs to no object; the next wait reads again.
    other.recv_timeout(PATIENCE).unwrap();
    until_asleep(begins.recv().unwrap());
    assert!(events.disconnect(handler));
    assert_eq!(in_time(move || waits.join().unwrap()), "1");
}

#[test]
fn a_request_that_the_server_cannot_read_fails() {
    let server = Server::new();
    let session = server.session();
    let long = json!({ "x": "x".repeat(2 << 20) });
    let error = in_time({
        let session = session.clone();
        move || session.execute_raw("query-status", Some(long)).unwrap_err()
    });
    assert!(matches!(error, Error::Command { .. }), "{error}");
    assert!(session.query_status().is_ok());
}

#[test]
fn dropping_an_object_does_not_wait_for_a_call_that_cannot_be_sent() {
    let server = Server::new();
    let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let (stop, stopped) = channel::<()>();
    let (sent, is_sending) = channel();
    let fake = thread::spawn(move || {
        let requests = std::io::BufReader::new(theirs.try_clone().unwrap());
        let mut server = Scripted {
            stream: theirs,
            requests,
        };
        server.say(support::GREETING);
        for _ in 0..2 {
            server.hear();
            server.say("{\"return\": {}}\r\n");
        }
        server.answer("{\"return\": 1");
        let mut start = [0; 4096];
        server.requests.read_exact(&mut start).unwrap();
        sent.send(()).unwrap();
        let _ = stopped.recv();
    });
    let session = Session::options().from_fd(ours.into()).unwrap();
    let events = session.get_stop_event().unwrap();
    let other = session.clone();
    let call = thread::spawn(move || {
        other
            .execute_raw("x", Some(json!({ "x": "x".repeat(16 << 20) })))
            .unwrap_err()
    });
    is_sending.recv().unwrap();
    in_time(move || drop(events));
    session.close();
    call.join().unwrap();
    drop(stop);
    fake.join().unwrap();
    drop(server);
}

#[test]
fn a_blocked_writer_reads_the_servers_output() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        // A server that sends before it reads anything.
        server.say(&STOP.repeat(200_000));
        server.answer("{\"return\": {}");
    });
    let session = options().connect(&address).unwrap();
    let long = json!({ "x": "x".repeat(4 << 20) });
    in_time(move || session.execute_raw("x", Some(long)).unwrap());
    server.join().unwrap();
}

#[test]
fn a_long_request_reaches_a_server_that_sends_much() {
    let server = Server::new();
    let session = server.session();
    let events = session.get_block_io_error_event().unwrap();
    for number in 0..60_000 {
        server.fail("disk0", number);
    }
    let long = json!({ "x": "x".repeat(900 << 10) });
    let error = in_time({
        let session = session.clone();
        move || session.execute_raw("query-status", Some(long)).unwrap_err()
    });
    assert!(matches!(error, Error::Command { .. }), "{error}");
    drop(events);
}

/// Greets and answers as a server with two accessors, which return 1 and 2.
fn accessors(server: &mut Scripted) {
    server.say(support::GREETING);
    for _ in 0..2 {
        server.hear();
        server.say("{\"return\": {}}\r\n");
    }
    server.answer("{\"return\": [{\"name\": \"get-stop-event\"}, {\"name\": \"get-reset-event\"}]");
    server.answer("{\"return\": 1");
    server.answer("{\"return\": 2");
}

#[test]
fn a_failed_put_does_not_keep_other_handles() {
    let (address, server, _directory) = scripted(|server| {
        accessors(server);
        server.answer("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}");
        server.hear()
    });
    let session = options().connect(&address).unwrap();
    assert!(session.any_event().unwrap().put().is_err());
    let heard = server.join().unwrap();
    assert!(heard.contains("\"tag\":2"), "{heard}");
}

#[test]
fn losses_before_a_mismatch_are_reported_with_the_next_event() {
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        server.answer("{\"return\": [{\"name\": \"RESET\", \"meta-type\": \"event\"}]");
        server.say(
            "{\"event\": \"EVENTS_LOST\", \"data\": {\"event\": \"RESET\", \"count\": 3}}\r\n",
        );
        for data in ["{}", "{\"guest\": true, \"reason\": \"guest-reset\"}"] {
            server.say(&format!("{{\"event\": \"RESET\", \"data\": {data}}}\r\n"));
        }
        server.hear()
    });
    let session = options().connect(&address).unwrap();
    let events = session.get_reset_event().unwrap();
    let error = events.recv().unwrap_err();
    assert!(matches!(error, Error::Event { .. }), "{error}");
    assert_eq!(events.recv().unwrap().lost, 3);
}
