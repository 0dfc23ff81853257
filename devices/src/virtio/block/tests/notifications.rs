//! Kicks and interrupts: none lost, none spurious.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread;
use std::time::Instant;

use vm_memory::{Bytes, GuestAddress};

use super::driver::*;
use super::fakes::DEADLINE;
use crate::bus::BusDevice;
use crate::virtio::transport::mmio;

/// Interrupts raised since the last call.
fn interrupts(machine: &Machine) -> u64 {
    machine.line.read().unwrap_or(0)
}

#[test]
fn a_batch_of_completions_raises_one_interrupt() {
    let mut machine = Setup::default().start();
    let tokens = [0, 1, 2].map(|slot| machine.submit(slot, IN, 0, 512).0);
    assert_eq!(interrupts(&machine), 0);
    machine.backend.end(tokens.map(|token| (token, Ok(()))));
    machine.backend.barrier();
    assert_eq!(interrupts(&machine), 1);
    assert_eq!(machine.take_used().len(), 3);
    assert_eq!(machine.register(0x060), 1);
}

#[test]
fn a_batch_holds_as_many_requests_as_are_in_flight_and_at_least_four() {
    let setup = Setup {
        features: VERSION_1,
        ..Setup::default()
    };
    let mut machine = setup.stopped();
    machine.initialize();
    for slot in 0..19 {
        machine.ask(slot, IN, 0, 512);
    }
    machine.resume();
    machine.backend.barrier();
    assert_eq!(machine.backend.batches(), [4, 4, 8, 3]);
    let tokens: Vec<_> = machine
        .backend
        .arrived()
        .into_iter()
        .map(|(token, _)| token)
        .collect();
    assert_eq!(tokens.len(), 19);
    machine
        .backend
        .end(tokens.into_iter().map(|token| (token, Ok(()))));
    machine.backend.barrier();
    assert_eq!(machine.take_used().len(), 19);
}

#[test]
fn a_driver_that_wants_no_interrupt_gets_none() {
    let mut machine = Setup::default().start();
    machine.set_u16(AVAILABLE, 1);
    machine.ask(0, GET_ID, 0, 20);
    machine.backend.barrier();
    assert_eq!(machine.take_used().len(), 1);
    assert_eq!(interrupts(&machine), 0);
    machine.set_u16(AVAILABLE, 0);
    machine.ask(0, GET_ID, 0, 20);
    machine.backend.barrier();
    assert_eq!(interrupts(&machine), 1);
}

#[test]
fn with_event_idx_the_interrupt_comes_where_the_driver_put_it() {
    let setup = Setup {
        features: VERSION_1 | EVENT_IDX,
        ..Setup::default()
    };
    let mut machine = setup.start();
    let used_event = AVAILABLE + 4 + 2 * 64;
    let mut seen = Vec::new();
    machine.set_u16(used_event, 2);
    // The flag means nothing with this feature (virtio 1.2 §2.7.7).
    machine.set_u16(AVAILABLE, 1);
    for _ in 0..5 {
        machine.ask(0, GET_ID, 0, 20);
        machine.backend.barrier();
        seen.push(interrupts(&machine));
    }
    assert_eq!(seen, [0, 0, 1, 0, 0]);
    // Within a batch.
    machine.set_u16(used_event, 6);
    for slot in 0..4 {
        machine.queue(slot, GET_ID, 0, 20);
    }
    machine.kick();
    machine.backend.barrier();
    assert_eq!(interrupts(&machine), 1);
    assert_eq!(machine.used_index(), 9);
}

#[test]
fn the_device_says_where_it_wants_the_next_kick() {
    let setup = Setup {
        features: VERSION_1 | EVENT_IDX,
        ..Setup::default()
    };
    let mut machine = setup.start();
    let available_event = USED + 4 + 8 * 64;
    for round in 1..4 {
        machine.ask(0, GET_ID, 0, 20);
        machine.backend.barrier();
        assert_eq!(machine.get_u16(available_event), round);
    }
    // Without the feature it is a flag, and the device sleeps with kicks enabled.
    let mut machine = Setup::default().start();
    machine.ask(0, GET_ID, 0, 20);
    machine.backend.barrier();
    assert_eq!(machine.get_u16(USED), 0);
}

#[test]
fn a_kick_while_paused_is_not_lost() {
    let mut machine = Setup::default().start();
    let drained = machine.pause();
    drained.recv_timeout(DEADLINE).unwrap();
    machine.ask(0, GET_ID, 0, 20);
    machine.ask(1, IN, 0, 512);
    machine.backend.barrier();
    assert_eq!(machine.used_index(), 0);
    assert!(machine.backend.arrived().is_empty());
    machine.resume();
    assert_eq!(machine.wait_used(1), [(0, 21)]);
    machine.backend.next();
}

#[test]
fn a_kick_before_the_driver_is_ready_or_the_machine_runs_is_not_lost() {
    let mut machine = Setup::default().stopped();
    machine.queue(0, GET_ID, 0, 20);
    machine.kick();
    machine.backend.barrier();
    machine.initialize();
    machine.kick();
    machine.backend.barrier();
    assert_eq!(machine.used_index(), 0);
    machine.resume();
    machine.wait_used(1);
}

#[test]
fn after_a_whole_queue_at_once_the_device_still_listens() {
    for (features, at, expected) in [
        (VERSION_1, USED, 0),
        (VERSION_1 | EVENT_IDX, USED + 4 + 8 * 4, 4),
    ] {
        let setup = Setup {
            features,
            queue_size: 4,
            ..Setup::default()
        };
        let machine = setup.start();
        let (head, tail) = (machine.head(0, GET_ID, 0), Machine::tail(0));
        machine.place(TABLE, 0, &[head, tail]);
        machine.backend.barrier();
        machine.set_u16(AVAILABLE + 2, 4);
        machine.kick();
        machine.backend.barrier();
        assert_eq!(machine.used_index(), 4);
        assert_eq!(machine.get_u16(at), expected);
    }
}

#[test]
fn a_driver_that_kicks_only_where_it_was_asked_to_is_never_left_waiting() {
    let setup = Setup {
        features: VERSION_1 | EVENT_IDX,
        ..Setup::default()
    };
    let mut machine = setup.start();
    let available_event = USED + 4 + 8 * 64;
    let (head, tail) = (machine.head(0, GET_ID, 0), Machine::tail(0));
    machine.place(TABLE, 0, &[head, tail]);
    let since = Instant::now();
    for round in 0..20_000u16 {
        machine.offer(0);
        // The event is read after the index is written, or both sides may miss the other's write.
        fence(Ordering::SeqCst);
        if machine.get_u16(available_event) == round {
            machine.kick();
        }
        while machine.used_index() == round {
            assert!(since.elapsed() < DEADLINE, "left waiting in round {round}");
            spin_loop();
        }
    }
}

#[test]
fn a_driver_that_never_stops_asking_cannot_make_the_thread_deaf() {
    let mut machine = Setup::default().start();
    let (head, tail) = (machine.head(0, GET_ID, 0), Machine::tail(0));
    machine.place(TABLE, 0, &[head, tail]);
    let stop = Arc::new(AtomicBool::new(false));
    let (memory, transport) = (machine.memory.clone(), machine.transport.clone());
    let stopped = stop.clone();
    let vcpu = thread::spawn(move || {
        // All entries of the ring name chain 0. The index stays ahead of the device.
        while !stopped.load(Ordering::Relaxed) {
            let used: u16 = memory.read_obj(GuestAddress(USED + 2)).unwrap();
            let ahead = used.wrapping_add(32);
            memory
                .write_obj(ahead, GuestAddress(AVAILABLE + 2))
                .unwrap();
            transport.write(mmio::QUEUE_NOTIFY, &[0; 4]);
        }
    });
    machine.wait_until(|machine| machine.used_index() > 1000);
    machine.pause().recv_timeout(DEADLINE).unwrap();
    let at = machine.used_index();
    machine.backend.barrier();
    assert_eq!(machine.used_index(), at);
    stop.store(true, Ordering::Relaxed);
    vcpu.join().unwrap();
    machine.resume();
    machine.recover();
}
