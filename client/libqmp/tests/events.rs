//! Events as objects: what arrives, in which order, at which object, and until when.

// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::mpsc::{self, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use libqmp::{AccessorArguments, BlockIoErrorEvent, Error, IoOperationType, Options, Session};
use support::{PATIENCE, Server, failure, options, scripted};

/// The number in an error's reason.
fn number(error: &libqmp::BlockIoError) -> u64 {
    error.reason.parse().unwrap()
}

fn next(events: &BlockIoErrorEvent) -> u64 {
    number(&events.recv_timeout(PATIENCE).unwrap())
}

#[test]
fn events_arrive_typed_in_order_and_complete() {
    let server = Server::new();
    let session = server.session();
    let errors = session.get_block_io_error_event().unwrap();
    for count in 0..100 {
        server.fail("disk0", count);
    }
    let first = errors.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (first.device.as_str(), first.operation),
        ("disk0", IoOperationType::Write)
    );
    assert!(first.timestamp.seconds > 0 && !first.initial && first.lost == 0);
    let others = errors.iter().take(99).map(|event| number(&event.unwrap()));
    assert_eq!(others.collect::<Vec<_>>(), (1..100).collect::<Vec<_>>());
    assert_eq!(errors.try_recv().unwrap(), None);
}

#[test]
fn an_object_filters_by_device() {
    let server = Server::new();
    let session = server.session();
    let of = |device: &str| AccessorArguments {
        device: Some(device.to_owned()),
        initial: false,
    };
    let one = session.get_block_io_error_event_with(&of("disk1")).unwrap();
    let all = session.get_block_io_error_event().unwrap();
    server.fail("disk0", 0);
    server.fail("disk1", 1);
    assert_eq!(next(&one), 1);
    assert_eq!((next(&all), next(&all)), (0, 1));
    let unknown = session.get_event("NO_SUCH", &AccessorArguments::default());
    assert!(matches!(unknown, Err(Error::EventNotFound { event }) if event == "NO_SUCH"));
    let refused = session
        .get_block_io_error_event_with(&of("floppy"))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "DeviceNotFound: Device 'floppy' not found"
    );
}

#[test]
fn a_timeout_names_what_was_awaited() {
    let server = Server::new();
    let stops = server.session().get_stop_event().unwrap();
    let error = stops.recv_timeout(Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.to_string(), "no STOP within 1ms");
}

#[test]
fn several_handlers_share_a_handle_and_receive_queued_events() {
    let server = Server::new();
    let (session, lines) = observed(&server);
    let errors = session.get_block_io_error_event().unwrap();
    server.fail("disk0", 0);
    // The event arrives before there is a handler.
    session.query_status().unwrap();
    let (heard, numbers) = channel();
    let handler = |name: &'static str| {
        let heard = heard.clone();
        move |error: &libqmp::Occurrence<libqmp::BlockIoError>| {
            heard.send((name, number(error))).unwrap();
        }
    };
    let first = errors.connect(handler("first")).unwrap();
    assert_eq!(numbers.recv_timeout(PATIENCE), Ok(("first", 0)));
    errors.connect(handler("second")).unwrap();
    server.fail("disk0", 1);
    assert_eq!(numbers.recv_timeout(PATIENCE), Ok(("first", 1)));
    assert_eq!(numbers.recv_timeout(PATIENCE), Ok(("second", 1)));
    assert!(errors.disconnect(first));
    assert!(!errors.disconnect(first));
    server.fail("disk0", 2);
    assert_eq!(numbers.recv_timeout(PATIENCE), Ok(("second", 2)));
    let lines = lines.lock().unwrap();
    let accessors = lines
        .iter()
        .filter(|line| line.contains("get-block-io-error-event"));
    assert_eq!(accessors.count(), 1);
}

/// A session, and all its lines.
fn observed(server: &Server) -> (Session, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let observed = Arc::clone(&lines);
    let observer = move |_, line: &str| observed.lock().unwrap().push(line.to_owned());
    let session = options().observe(observer).connect(&server.address());
    (session.unwrap(), lines)
}

#[test]
fn events_are_received_again_after_the_last_handler() {
    let server = Server::new();
    let session = server.session();
    let errors = session.get_block_io_error_event().unwrap();
    let (heard, numbers) = channel();
    let handler = errors
        .connect(move |error| heard.send(number(error)).unwrap())
        .unwrap();
    server.fail("disk0", 0);
    assert_eq!(numbers.recv_timeout(PATIENCE), Ok(0));
    errors.disconnect(handler);
    assert_eq!(
        numbers.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
    server.fail("disk0", 1);
    assert_eq!(next(&errors), 1);
}

#[test]
fn a_handler_can_use_the_session_and_drop_its_own_object() {
    let server = Server::new();
    let session = server.session();
    let errors = session.get_block_io_error_event().unwrap();
    let slot = Arc::new(Mutex::new(None));
    let (heard, told) = channel();
    let (own, commands) = (Arc::clone(&slot), session.clone());
    errors
        .connect(move |error| {
            drop(own.lock().unwrap().take());
            let status = commands.query_status().unwrap();
            heard.send((number(error), status.running)).unwrap();
        })
        .unwrap();
    *slot.lock().unwrap() = Some(errors);
    server.fail("disk0", 0);
    assert_eq!(told.recv_timeout(PATIENCE), Ok((0, true)));
    server.fail("disk0", 1);
    // The object's handler is dropped with it.
    assert_eq!(
        told.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}

#[test]
fn dropping_an_object_waits_for_its_running_handler() {
    let server = Server::new();
    let session = server.session();
    let errors = session.get_block_io_error_event().unwrap();
    let (begun, begins) = channel();
    let (end, ends) = channel::<()>();
    let done = Arc::new(Mutex::new(false));
    let is_done = Arc::clone(&done);
    errors
        .connect(move |_| {
            begun.send(()).unwrap();
            let _ = ends.recv();
            *is_done.lock().unwrap() = true;
        })
        .unwrap();
    server.fail("disk0", 0);
    begins.recv_timeout(PATIENCE).unwrap();
    let ending = thread::spawn(move || drop(errors));
    end.send(()).unwrap();
    ending.join().unwrap();
    assert!(*done.lock().unwrap());
}

#[test]
fn dropping_an_object_puts_its_handle() {
    let server = Server::new();
    let (session, lines) = observed(&server);
    drop(session.get_block_io_error_event().unwrap());
    // The server executes the requests before this one.
    session.query_status().unwrap();
    server.fail("disk0", 0);
    session.query_status().unwrap();
    let said = |text: &str| {
        lines
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    assert_eq!(said("put-event"), 1);
    assert_eq!(said("BLOCK_IO_ERROR"), 0);
    session.get_block_io_error_event().unwrap().put().unwrap();
    assert_eq!(said("put-event"), 2);
}

#[test]
fn without_a_thread_handlers_run_in_dispatch() {
    let server = Server::new();
    let session = options()
        .manual_dispatch()
        .connect(&server.address())
        .unwrap();
    let errors = session.get_block_io_error_event().unwrap();
    let (heard, numbers) = channel();
    let here = thread::current().id();
    let inner = session.clone();
    errors
        .connect(move |error| {
            assert_eq!(thread::current().id(), here);
            // A nested dispatch does nothing.
            assert_eq!(inner.dispatch().unwrap(), 0);
            heard.send(number(error)).unwrap();
        })
        .unwrap();
    assert!(!is_readable(&session, Duration::ZERO));
    server.fail("disk0", 0);
    assert!(is_readable(&session, PATIENCE));
    // A call reads the event while it waits; the descriptor is still readable.
    session.query_status().unwrap();
    assert!(is_readable(&session, Duration::ZERO));
    assert!(numbers.try_recv().is_err());
    assert_eq!(session.dispatch().unwrap(), 1);
    assert_eq!(numbers.try_recv(), Ok(0));
    assert!(!is_readable(&session, Duration::ZERO));
    assert_eq!(session.dispatch().unwrap(), 0);
}

fn is_readable(session: &Session, within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = session.as_fd();
    let within = Timespec::try_from(within).unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&within)).unwrap() > 0
}

#[test]
fn events_before_the_end_are_dispatched_before_the_end_is_reported() {
    let server = Server::new();
    let session = options()
        .manual_dispatch()
        .connect(&server.address())
        .unwrap();
    let errors = session.get_block_io_error_event().unwrap();
    let stops = session.get_stop_event().unwrap();
    let (heard, numbers) = channel();
    errors
        .connect(move |error| heard.send(number(error)).unwrap())
        .unwrap();
    server.fail("disk0", 0);
    server.signals.stop.raise(&libqmp::Empty {});
    session.query_status().unwrap();
    session.close();
    assert!(stops.recv().is_ok());
    assert!(matches!(stops.recv(), Err(Error::Closed { .. })));
    assert_eq!(stops.iter().count(), 1);
    assert_eq!(session.dispatch().unwrap(), 1);
    assert_eq!(numbers.try_recv(), Ok(0));
    assert!(matches!(session.dispatch(), Err(Error::Closed { .. })));
}

#[test]
fn losses_are_reported_with_the_next_event() {
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate_with_accessors();
        server.answer("{\"return\": 5");
        let stop = "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"tag\": 5}\r\n";
        server.say(stop);
        server.say("{\"event\": \"EVENTS_LOST\", \"data\": {\"event\": \"STOP\", \"count\": 3}, \"tag\": 5}\r\n");
        server.say("{\"event\": \"EVENTS_LOST\", \"data\": {\"event\": \"STOP\", \"count\": 4}, \"tag\": 5}\r\n");
        server.say(&stop.replace("5}", "6}"));
        server.say(stop);
        server.hear()
    });
    let session = options().connect(&address).unwrap();
    let stops = session.get_stop_event().unwrap();
    assert_eq!(stops.recv_timeout(PATIENCE).unwrap().lost, 0);
    assert_eq!(stops.recv_timeout(PATIENCE).unwrap().lost, 7);
}

#[test]
fn an_object_queues_a_bounded_number_of_events() {
    const EXTRA: u64 = 10;
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        server.answer("{\"return\": [{\"name\": \"STOP\", \"meta-type\": \"event\"}]");
        server.say(&"{\"event\": \"STOP\"}\r\n".repeat(65_536 + 10));
        server.answer("{\"return\": {}");
        server.hear();
        server.say("{\"event\": \"STOP\"}\r\n");
    });
    let session = options().connect(&address).unwrap();
    let stops = session.get_stop_event().unwrap();
    session.execute_raw("x", None).unwrap();
    for _ in 0..65_536 {
        assert_eq!(stops.try_recv().unwrap().unwrap().lost, 0);
    }
    let _ = session.execute_raw("x", None);
    assert_eq!(stops.recv_timeout(PATIENCE).unwrap().lost, EXTRA);
}

#[test]
fn an_object_queues_a_bounded_number_of_bytes() {
    // Half of the limit; the rest of its line makes it more.
    const LARGE: usize = 32 << 20;
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        server.answer("{\"return\": [{\"name\": \"X_LARGE\", \"meta-type\": \"event\"}]");
        let text = "x".repeat(LARGE);
        let event = format!("{{\"event\": \"X_LARGE\", \"data\": {{\"text\": \"{text}\"}}}}\r\n");
        server.say(&event.repeat(2));
        server.answer("{\"return\": {}");
        server.hear();
        server.say("{\"event\": \"X_LARGE\"}\r\n");
    });
    let session = options().connect(&address).unwrap();
    let arguments = AccessorArguments::default();
    let large = session.get_event("X_LARGE", &arguments).unwrap();
    session.execute_raw("x", None).unwrap();
    let first = large.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first.data.data["text"].as_str().map(str::len), Some(LARGE));
    let _ = session.execute_raw("x", None);
    assert_eq!(large.recv_timeout(PATIENCE).unwrap().lost, 1);
}

#[test]
fn an_event_that_does_not_match_is_an_error_and_the_next_one_arrives() {
    let server = |handlers: bool| {
        move |server: &mut support::Scripted| {
            server.negotiate();
            server.answer("{\"return\": [{\"name\": \"SHUTDOWN\", \"meta-type\": \"event\"}]");
            if handlers {
                server.answer("{\"return\": {}");
            }
            server.say("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": 1}}\r\n");
            server.say("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}\r\n");
            server.hear()
        }
    };
    let (address, _server, _directory) = scripted(server(false));
    let ends = options()
        .connect(&address)
        .unwrap()
        .get_shutdown_event()
        .unwrap();
    let error = ends.recv_timeout(PATIENCE).unwrap_err().to_string();
    let expected = "the data of an event SHUTDOWN do not fit their type: Member 'guest' is not of type boolean";
    assert_eq!(error, expected);
    assert!(ends.recv_timeout(PATIENCE).unwrap().guest);
    // A handler learns of it as lost.
    let (address, _server, _directory) = scripted(server(true));
    let session = options().connect(&address).unwrap();
    let ends = session.get_shutdown_event().unwrap();
    let (heard, lost) = channel();
    ends.connect(move |event| heard.send(event.lost).unwrap())
        .unwrap();
    session.execute_raw("x", None).unwrap();
    assert_eq!(lost.recv_timeout(PATIENCE), Ok(1));
}

#[test]
fn any_event_receives_every_event() {
    let server = Server::new();
    let session = server.session();
    let all = session.any_event().unwrap();
    let stop = session.get_stop_event().unwrap();
    server.signals.raise(failure("disk0", 0));
    server.signals.stop.raise(&libqmp::Empty {});
    // Events of the session's own `listen-event` arrive nowhere else.
    let listen = serde_json::json!({"event": "RESUME", "id": "mine"});
    session.execute_raw("listen-event", Some(listen)).unwrap();
    server.signals.resume.raise(&libqmp::Empty {});
    let name = || {
        let event = all.recv_timeout(PATIENCE).unwrap();
        (event.name.clone(), event.id.clone())
    };
    assert_eq!(name(), ("BLOCK_IO_ERROR".to_owned(), None));
    assert_eq!(name(), ("STOP".to_owned(), None));
    let mut resumed = [name(), name()];
    resumed.sort_by_key(|(_, id)| id.is_some());
    assert_eq!(resumed[0], ("RESUME".to_owned(), None));
    assert_eq!(resumed[1], ("RESUME".to_owned(), Some("mine".into())));
    assert!(stop.recv_timeout(PATIENCE).is_ok());
    assert_eq!(stop.try_recv().unwrap(), None);
}

#[test]
fn without_accessors_objects_use_default_events() {
    let error = |device: &str, reason: u64| {
        format!(
            "{{\"event\": \"BLOCK_IO_ERROR\", \"data\": {{\"qom-path\": \"\", \"device\": \"{device}\", \
             \"operation\": \"read\", \"action\": \"report\", \"reason\": \"{reason}\"}}}}\r\n"
        )
    };
    let (address, server, _directory) = scripted(move |server| {
        server.negotiate();
        let schema = server.answer(
            "{\"return\": [{\"name\": \"BLOCK_IO_ERROR\", \"meta-type\": \"event\", \"arg-type\": \"1\"}]",
        );
        server.answer("{\"return\": {}");
        server.say(&error("disk0", 0));
        server.say("{\"event\": \"UNKNOWN\"}\r\n");
        server.say(&error("disk1", 1));
        (schema, server.hear())
    });
    let session = options().connect(&address).unwrap();
    assert!(!session.has_accessors());
    let all = session.get_block_io_error_event().unwrap();
    let of = AccessorArguments {
        device: Some("disk1".to_owned()),
        initial: false,
    };
    let one = session.get_block_io_error_event_with(&of).unwrap();
    let any = session.any_event().unwrap();
    session.execute_raw("x", None).unwrap();
    assert_eq!((next(&all), next(&all)), (0, 1));
    assert_eq!(next(&one), 1);
    let names: Vec<String> = any
        .iter()
        .take(3)
        .map(|event| event.unwrap().name.clone())
        .collect();
    assert_eq!(names, ["BLOCK_IO_ERROR", "UNKNOWN", "BLOCK_IO_ERROR"]);
    let missing = session.get_block_fault_injected_event().unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the server has no event 'BLOCK_FAULT_INJECTED'"
    );
    drop((all, one, any, session));
    let (schema, last) = server.join().unwrap();
    assert_eq!(schema["execute"], "query-qmp-schema");
    // There is no handle to put.
    assert_eq!(last, "");
}

#[test]
fn the_options_of_a_session_can_be_used_again() {
    let server = Server::new();
    let options: Options = options();
    let sessions =
        [options.clone(), options].map(|options| options.connect(&server.address()).unwrap());
    for session in &sessions {
        session.query_status().unwrap();
    }
}
