//! The entropy device behind its transport, with a driver.

mod driver;

use std::time::Duration;

use super::RateLimit;
use super::worker::MAX_REQUEST;
use crate::bus::BusDevice;
use crate::life_cycle::LifeCycle;
use driver::{DATA, MEMORY, Machine, Part};

/// A period that no test sees the end of.
const HOUR: Duration = Duration::from_secs(3600);

fn limit(max_bytes: u64, period: Duration) -> Option<RateLimit> {
    Some(RateLimit { max_bytes, period })
}

#[test]
fn a_request_is_filled_with_what_the_source_gives_in_the_order_of_its_buffers() {
    let mut machine = Machine::start(None);
    machine.ask(&[
        Part::writable(DATA, 3),
        Part::writable(DATA + 0x100, 0),
        Part::writable(DATA + 0x200, 5),
    ]);
    assert_eq!(machine.wait_used(1), [(0, 8)]);
    assert_eq!(machine.read(DATA, 4), [1, 2, 3, 0]);
    assert_eq!(machine.read(DATA + 0x100, 1), [0]);
    assert_eq!(machine.read(DATA + 0x200, 6), [4, 5, 6, 7, 8, 0]);
    assert_eq!(machine.wait_interrupts(), 1);
}

#[test]
fn a_long_request_is_filled_as_far_as_one_may_take() {
    let mut machine = Machine::start(None);
    machine.ask(&[Part::writable(DATA, 0x4_0000)]);
    let most = u32::try_from(MAX_REQUEST).unwrap();
    assert_eq!(machine.wait_used(1), [(0, most)]);
}

#[test]
fn a_request_that_the_standard_forbids_makes_the_device_ask_for_a_reset() {
    let forbidden: [&[Part]; 5] = [
        &[Part::readable(DATA, 8)],
        &[Part::readable(DATA, 8), Part::writable(DATA, 8)],
        &[Part::writable(DATA, 0)],
        &[Part::writable(MEMORY - 4, 8)],
        &[Part::writable(u64::MAX - 4, 8)],
    ];
    for parts in forbidden {
        let mut machine = Machine::start(None);
        machine.ask(parts);
        machine.wait_needs_reset();
        assert_eq!(machine.used(), []);
        machine.reset();
        machine.initialize();
        machine.ask(&[Part::writable(DATA, 4)]);
        assert_eq!(machine.wait_used(1), [(0, 4)], "{parts:?}");
    }
}

#[test]
fn a_descriptor_that_names_itself_makes_the_device_ask_for_a_reset() {
    let mut machine = Machine::start(None);
    machine.ask_loop();
    machine.wait_needs_reset();
}

#[test]
fn a_limited_device_gives_what_is_left_of_a_period_and_then_nothing() {
    let mut machine = Machine::start(limit(10, HOUR));
    machine.ask(&[Part::writable(DATA, 6)]);
    machine.wait_used(1);
    machine.ask(&[Part::writable(DATA, 6)]);
    machine.ask(&[Part::writable(DATA, 6)]);
    assert_eq!(machine.wait_used(2), [(0, 6), (1, 4)]);
    machine.barrier();
    assert_eq!(machine.used().len(), 2);
}

#[test]
fn requests_wait_for_the_next_period() {
    let mut machine = Machine::start(limit(10, Duration::from_millis(1)));
    for _ in 0..4 {
        machine.ask(&[Part::writable(DATA, 100)]);
    }
    let expected = [0, 1, 2, 3].map(|head| (head, 10));
    assert_eq!(machine.wait_used(4), expected);
}

#[test]
fn a_driver_gets_no_more_by_a_reset() {
    let mut machine = Machine::start(limit(10, HOUR));
    machine.ask(&[Part::writable(DATA, 10)]);
    machine.wait_used(1);
    machine.reset();
    machine.initialize();
    machine.ask(&[Part::writable(DATA, 10)]);
    machine.barrier();
    assert_eq!(machine.used(), []);
}

#[test]
fn a_device_with_a_quota_of_nothing_waits_and_can_be_asked_for_the_rest() {
    let mut machine = Machine::start(limit(0, HOUR));
    machine.ask(&[Part::writable(DATA, 4)]);
    machine.barrier();
    machine.pause();
    assert_eq!(machine.used(), []);
    machine.resume();
    machine.reset();
    machine.initialize();
    assert_eq!(machine.used(), []);
}

#[test]
fn a_device_is_restored_to_what_it_was_before_its_driver() {
    let mut machine = Machine::start(None);
    machine.ask(&[Part::writable(DATA, 4)]);
    machine.wait_used(1);
    machine.reset();
    machine.pause();
    let state = machine.transport.save().unwrap();
    machine.resume();
    machine.initialize();
    machine.pause();
    machine.transport.restore(&state).unwrap();
    machine.resume();
    // The ring of the driver that is gone is memory as any other.
    machine.ask(&[Part::writable(DATA, 4)]);
    machine.barrier();
    assert_eq!(machine.used(), []);
}

#[test]
fn a_device_that_is_asleep_gives_nothing_until_it_is_woken() {
    let mut machine = Machine::start(None);
    machine.pause();
    machine.ask(&[Part::writable(DATA, 4)]);
    machine.barrier();
    assert_eq!(machine.used(), []);
    machine.resume();
    assert_eq!(machine.wait_used(1), [(0, 4)]);
}

#[test]
fn a_restored_device_keeps_its_queue_position_and_quota() {
    let mut machine = Machine::start(limit(10, HOUR));
    machine.ask(&[Part::writable(DATA, 7)]);
    machine.wait_used(1);
    machine.pause();
    let state = machine.transport.save().unwrap();
    let mut restored = machine.successor(limit(10, HOUR));
    restored.transport.restore(&state).unwrap();
    assert!(restored.transport.save().is_ok());
    restored.resume();
    restored.ask(&[Part::writable(DATA, 7)]);
    assert_eq!(restored.wait_used(2), [(0, 7), (1, 3)]);
}

#[test]
fn a_device_that_runs_is_neither_saved_nor_restored() {
    let mut machine = Machine::start(limit(10, HOUR));
    assert!(machine.transport.save().is_err());
    machine.pause();
    let state = machine.transport.save().unwrap();
    machine.resume();
    assert!(machine.transport.restore(&state).is_err());
    machine.ask(&[Part::writable(DATA, 4)]);
    assert_eq!(machine.wait_used(1), [(0, 4)]);
}

#[test]
fn the_entropy_device_has_no_configuration_space_and_no_features() {
    let machine = Machine::start(None);
    let mut data = [0xaa; 4];
    machine.transport.read(0x100, &mut data);
    assert_eq!(data, [0; 4]);
    machine.transport.write(0x100, &[1; 4]);
    assert_eq!(machine.register(0x008), 4);
    assert_eq!(machine.register(0x034), 8);
}
