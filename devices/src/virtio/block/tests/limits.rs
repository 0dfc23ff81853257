//! Throttled requests, and events while they wait. Times are the host's: the tests check that
//! nothing happens early, not that it happens soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::*;
use super::fakes::DEADLINE;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Operation, Token};
use crate::block::throttle::group::Group;
use crate::block::throttle::limits::{Limit, Limits, Measure};
use crate::virtio::device::VirtioDevice;

fn group(measure: Measure, average: u64) -> Arc<Group> {
    let group = Group::new("group".into(), limits(measure, average), Instant::now());
    Arc::new(group)
}

fn limits(measure: Measure, average: u64) -> Limits {
    let limit = |of| Limit {
        average: if of == measure { average } else { 0 },
        ..Limit::default()
    };
    Limits::new(limit, 0).unwrap()
}

/// A byte a second: a request that waits for it waits until the limits change.
fn hardly_anything() -> Arc<Group> {
    group(Measure::BpsWrite, 1)
}

/// A running disk whose write in slot 0 is in flight, while those in slots 1 and 2 are throttled.
fn waiting(setup: Setup) -> (Machine, Token) {
    let mut machine = setup.start();
    machine
        .disk
        .set_group(Some(hardly_anything()), Box::new(|| ()));
    machine.backend.barrier();
    let (token, _) = machine.submit(0, OUT, 0, 512);
    machine.ask(1, OUT, 1, 512);
    machine.ask(2, OUT, 2, 512);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    (machine, token)
}

/// The sectors of the next requests that reach the backend.
fn sectors(machine: &Machine, count: usize) -> Vec<u64> {
    let sector = |_| match machine.backend.next().1.operation {
        Operation::Read { offset } | Operation::Write { offset, .. } => offset / 512,
        ref other => panic!("{other:?}"),
    };
    (0..count).map(sector).collect()
}

#[test]
fn a_write_above_the_limit_waits_its_time_and_what_is_not_limited_overtakes_it() {
    let mut machine = Setup::default().start();
    let group = group(Measure::IopsWrite, 10);
    machine.disk.set_group(Some(group), Box::new(|| ()));
    machine.backend.barrier();
    let start = Instant::now();
    // A tenth of a second allows one; one more fills the bucket.
    for slot in 0..4 {
        machine.queue(slot, OUT, slot.into(), 512);
    }
    machine.queue(4, IN, 9, 512);
    machine.queue(5, FLUSH, 0, 0);
    machine.kick();
    let first: Vec<_> = (0..4).map(|_| machine.backend.next()).collect();
    let operations = first.iter().map(|(_, request)| &request.operation);
    let is_write = |operation: &Operation| matches!(operation, Operation::Write { .. });
    let kinds: Vec<_> = operations.map(is_write).collect();
    assert_eq!(kinds, [true, true, false, false]);
    assert_eq!(sectors(&machine, 1), [2]);
    assert!(start.elapsed() >= Duration::from_millis(100));
    let (last, _) = machine.backend.next();
    assert!(start.elapsed() >= Duration::from_millis(200));
    machine.end(last, Ok(()));
    assert_eq!(machine.wait_used(1), [(head_of(3), 1)]);
    let time_ns = machine
        .disk
        .statistics()
        .counts(crate::block::policy::statistics::Kind::Write)
        .time_ns;
    assert!(time_ns >= 200_000_000, "waiting counts: {time_ns}");
}

#[test]
fn other_limits_are_for_what_waits_too() {
    let (machine, _) = waiting(Setup::default());
    let group = machine.disk.group().unwrap();
    group.set_limits(limits(Measure::BpsRead, 1), Instant::now());
    assert_eq!(sectors(&machine, 2), [1, 2]);
}

#[test]
fn without_limits_what_waits_goes() {
    let (mut machine, _) = waiting(Setup::default());
    machine.disk.set_group(None, Box::new(|| ()));
    assert!(machine.disk.group().is_none());
    assert_eq!(sectors(&machine, 2), [1, 2]);
    machine.submit(3, OUT, 3, 512);
}

#[test]
fn a_stop_does_not_wait_for_throttled_requests_which_stay_throttled() {
    let (mut machine, token) = waiting(Setup::default());
    let drained = machine.pause();
    machine.end(token, Ok(()));
    drained.recv_timeout(DEADLINE).unwrap();
    // Nothing is submitted while the machine is stopped, even without limits.
    machine.disk.set_group(None, Box::new(|| ()));
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine
        .disk
        .set_group(Some(hardly_anything()), Box::new(|| ()));
    machine.resume();
    assert_eq!(sectors(&machine, 1), [1]);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.disk.set_group(None, Box::new(|| ()));
    assert_eq!(sectors(&machine, 1), [2]);
}

#[test]
fn a_held_request_goes_before_those_that_had_to_wait_and_pays_once_more() {
    let (mut machine, token) = waiting(Setup::policy("stop", "report"));
    machine.end(token, Err(Errno::EIO));
    machine.hear_stop();
    machine
        .disk
        .set_group(Some(hardly_anything()), Box::new(|| ()));
    machine.resume();
    assert_eq!(machine.backend.next().0, token);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.disk.set_group(None, Box::new(|| ()));
    assert_eq!(sectors(&machine, 2), [1, 2]);
}

#[test]
fn a_reset_drops_what_waits() {
    let (mut machine, token) = waiting(Setup::default());
    machine.end(token, Ok(()));
    machine.wait_used(1);
    machine.reset();
    machine.initialize();
    machine.disk.set_group(None, Box::new(|| ()));
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.check_alive();
}

#[test]
fn the_end_does_not_wait_for_what_waits() {
    let (machine, token) = waiting(Setup::default());
    let (done, is_done) = std::sync::mpsc::channel();
    machine.disk.close(Box::new(move || {
        let _ = done.send(());
    }));
    machine.end(token, Ok(()));
    is_done.recv_timeout(DEADLINE).unwrap();
    assert!(machine.backend.arrived().is_empty());
}

#[test]
fn throttled_requests_count_against_the_queue_size() {
    let setup = Setup {
        queue_size: 16,
        ..Setup::default()
    };
    let (mut machine, _) = waiting(setup);
    for _ in 0..13 {
        machine.offer(head_of(2));
    }
    machine.kick();
    machine.backend.barrier();
    assert!(!machine.needs_reset());
    machine.offer(head_of(2));
    machine.kick();
    machine.wait_until(Machine::needs_reset);
    machine.disk.set_group(None, Box::new(|| ()));
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
}

#[test]
fn a_disk_that_becomes_shorter_fails_what_waits_for_its_end() {
    let (machine, token) = waiting(Setup::default());
    let (done, is_done) = std::sync::mpsc::channel();
    machine.disk.resize(
        1024,
        Box::new(move |result| {
            let _ = done.send(result);
        }),
    );
    machine.end(token, Ok(()));
    is_done.recv_timeout(DEADLINE).unwrap().unwrap();
    machine.disk.set_group(None, Box::new(|| ()));
    assert_eq!(sectors(&machine, 1), [1]);
    assert_eq!(machine.hear_error().0.errno, Errno::EIO);
    machine.wait_until(|machine| machine.status(2) == IOERR);
}

#[test]
fn disks_of_a_group_share_its_limits() {
    let (machine, _) = waiting(Setup::default());
    let group = machine.disk.group().unwrap();
    let mut other = Setup::default().start();
    other.disk.set_group(Some(group.clone()), Box::new(|| ()));
    other.backend.barrier();
    other.ask(0, OUT, 7, 512);
    other.backend.barrier();
    assert!(other.backend.arrived().is_empty());
    // The first disk stops and leaves the line; this frees no bytes.
    machine.pause();
    machine.backend.barrier();
    other.backend.barrier();
    assert!(other.backend.arrived().is_empty());
    group.set_limits(limits(Measure::BpsWrite, 1), Instant::now());
    assert_eq!(sectors(&other, 1), [7]);
}
