//! Several queues of one disk.

use std::sync::Arc;

use super::driver::*;
use super::fakes::DEADLINE;
use crate::block::model::errno::Errno;
use crate::virtio::device::{Activation, VirtioDevice};
use crate::virtio::queue::Configuration;
use crate::virtio::queue_state::QueueState;
use crate::virtio::transport::mmio::interrupt::MmioInterrupt;
use crate::virtio::transport::status;

fn setup() -> Setup {
    let mut setup = Setup::policy("stop", "stop");
    setup.disk.queues = 4;
    setup.features |= 1 << 12;
    setup
}

/// Slots are shared by the queues: each has its own descriptors for them.
fn submit_on_each(machine: &mut Machine) -> Vec<crate::block::model::request::Token> {
    (0..4)
        .map(|queue| {
            machine.select(queue);
            let slot = u16::try_from(queue).unwrap();
            machine.submit(slot, OUT, u64::from(slot), 512).0
        })
        .collect()
}

fn expect_one_on_each(machine: &mut Machine) {
    for queue in 0..4 {
        machine.select(queue);
        let slot = u16::try_from(queue).unwrap();
        assert_eq!(machine.wait_used(1), [(head_of(slot), 1)]);
        assert_eq!(machine.status(slot), OK);
    }
}

#[test]
fn each_queue_gets_the_answers_to_what_came_from_it() {
    let mut machine = setup().start();
    for _ in 0..3 {
        let tokens = submit_on_each(&mut machine);
        for token in tokens.into_iter().rev() {
            machine.end(token, Ok(()));
        }
        expect_one_on_each(&mut machine);
    }
}

#[test]
fn held_requests_complete_on_their_own_queue() {
    let mut machine = setup().start();
    let tokens = submit_on_each(&mut machine);
    let failed = tokens.iter().map(|token| (*token, Err(Errno::EIO)));
    machine.backend.end(failed);
    for _ in 0..4 {
        machine.hear_stop();
    }
    machine.resume();
    for token in &tokens {
        assert_eq!(machine.backend.next().0, *token);
    }
    machine
        .backend
        .end(tokens.into_iter().map(|token| (token, Ok(()))));
    expect_one_on_each(&mut machine);
}

#[test]
fn a_resume_drains_every_queue() {
    let mut machine = setup().start();
    machine.pause().recv_timeout(DEADLINE).unwrap();
    for queue in 0..4 {
        machine.select(queue);
        machine.ask(u16::try_from(queue).unwrap(), OUT, 0, 512);
    }
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.backend.end_at_once(Ok(()));
    machine.resume();
    expect_one_on_each(&mut machine);
}

#[test]
fn a_queue_that_was_not_set_up_is_not_there_and_harms_no_other() {
    let mut setup = setup();
    // The driver uses two of the four.
    setup.disk.queues = 2;
    let mut machine = setup.start();
    machine.backend.end_at_once(Ok(()));
    for queue in [2, 3, 700] {
        machine.set_register(0x050, queue);
    }
    for queue in [0, 1] {
        machine.select(queue);
        machine.ask(0, OUT, 0, 512);
        assert_eq!(machine.wait_used(1), [(0, 1)]);
    }
}

#[test]
fn a_broken_queue_stops_them_all_until_a_reset() {
    let mut machine = setup().start();
    machine.select(2);
    machine.ask_with(&[readable(header_of(0), 3)]);
    machine.wait_needs_reset();
    machine.select(0);
    machine.ask(0, OUT, 0, 512);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.reset();
    machine.initialize();
    machine.backend.end_at_once(Ok(()));
    for queue in 0..4 {
        machine.select(queue);
        machine.ask(0, OUT, 0, 512);
        assert_eq!(machine.wait_used(1), [(0, 1)]);
    }
}

/// A chain that is made available repeatedly breaks its queue long before memory runs out.
#[test]
fn one_queue_can_have_no_more_in_flight_than_it_has_room_for() {
    let mut machine = setup().start();
    machine.select(3);
    for _ in 0..64 {
        machine.submit(0, OUT, 0, 512);
    }
    assert!(!machine.needs_reset());
    machine.ask(0, OUT, 0, 512);
    machine.wait_needs_reset();
}

#[test]
fn every_queue_is_looked_at_before_it_is_used() {
    let machine = setup().stopped();
    let bad = Configuration {
        size: 64,
        descriptor_table: MEMORY,
        available_ring: AVAILABLE,
        used_ring: USED,
    };
    let good = Configuration {
        descriptor_table: TABLE,
        ..bad
    };
    let line = Arc::new(machine.line.try_clone().unwrap());
    let interrupt = Arc::new(MmioInterrupt::new(line));
    let queue = |configuration| Some(QueueState::unused(configuration));
    machine.disk.activate(Activation {
        features: VERSION_1,
        queues: vec![queue(good), None, queue(bad)],
        interrupt: interrupt.clone(),
    });
    machine.backend.barrier();
    assert_ne!(interrupt.device_status() & status::DEVICE_NEEDS_RESET, 0);
}
