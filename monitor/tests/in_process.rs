//! Signals inside the process (`faultvisor_schema::Signal`), beside the monitor's clients.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use faultvisor_monitor::Monitor;
use faultvisor_schema::{BlockIoError, Event, Signals};
use support::{Server, io_error};

fn counter() -> (Arc<AtomicUsize>, impl Fn() -> usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&count);
    (count, move || read.load(Ordering::SeqCst))
}

#[test]
fn the_monitor_is_one_consumer_of_signals_and_not_their_owner() {
    let signals = Signals::default();
    let (heard, count) = counter();
    let connection = signals.block_io_error.connect(move |error: &BlockIoError| {
        assert_eq!(error.device, "disk0");
        heard.fetch_add(1, Ordering::SeqCst);
    });
    let server = Server::with(Monitor::builder().signals(&signals));
    let mut client = server.quiet_client();
    client.execute("get-block-io-error-event");
    signals.raise(io_error("disk0", "x"));
    assert_eq!(count(), 1);
    assert_eq!(client.until_now().len(), 1);
    drop(server);
    signals.raise(io_error("disk0", "x"));
    assert_eq!(count(), 2, "a signal outlives its monitor");
    drop(connection);
    signals.raise(io_error("disk0", "x"));
    assert_eq!(count(), 2);
}

#[test]
fn a_dropped_connection_never_fires_again() {
    let signals = Signals::default();
    let stop = Arc::new(AtomicUsize::new(0));
    let raiser = {
        let (signals, stop) = (signals.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            while stop.load(Ordering::SeqCst) == 0 {
                signals.raise(Event::Stop);
            }
        })
    };
    for _ in 0..2000 {
        let dropped = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&dropped);
        let connection = signals
            .stop
            .connect(move |_| assert_eq!(seen.load(Ordering::SeqCst), 0));
        drop(connection);
        dropped.store(1, Ordering::SeqCst);
    }
    stop.store(1, Ordering::SeqCst);
    raiser.join().unwrap();
}

#[test]
fn dropping_waits_for_a_handler_in_another_thread() {
    let signals = Signals::default();
    let inside = Arc::new(Barrier::new(2));
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let (ended, count) = counter();
    let at = Arc::clone(&inside);
    let connection = signals.stop.connect(move |_| {
        at.wait();
        let _ = released.lock().unwrap().recv();
        ended.fetch_add(1, Ordering::SeqCst);
    });
    let raiser = {
        let signals = signals.clone();
        thread::spawn(move || signals.raise(Event::Stop))
    };
    inside.wait();
    let dropper = thread::spawn(move || drop(connection));
    // A connection that is being dropped neither receives new events nor delays them.
    while format!("{:?}", signals.stop) != "Signal { connections: 0 }" {
        thread::yield_now();
    }
    signals.raise(Event::Stop);
    assert_eq!(count(), 0);
    assert!(!dropper.is_finished());
    release.send(()).unwrap();
    dropper.join().unwrap();
    assert_eq!(count(), 1);
    raiser.join().unwrap();
}

#[test]
fn a_handler_may_drop_its_own_connection() {
    let signals = Signals::default();
    let slot = Arc::new(Mutex::new(None));
    let own = Arc::clone(&slot);
    let (heard, count) = counter();
    let connection = signals.reset.connect(move |_| {
        heard.fetch_add(1, Ordering::SeqCst);
        // Dropped without the lock: the drop waits for calls in other threads, which may need it.
        let connection = own.lock().unwrap().take();
        drop(connection);
    });
    *slot.lock().unwrap() = Some(connection);
    for _ in 0..3 {
        signals.raise(support::reset());
    }
    assert_eq!(count(), 1);
}
