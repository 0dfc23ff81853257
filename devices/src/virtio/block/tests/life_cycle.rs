//! Pause, resume, reset and close, against requests in flight and held.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::super::ErrorKind;
use super::driver::*;
use super::fakes::DEADLINE;
use crate::block::model::errno::Errno;
use crate::block::policy::error_policy::{ErrorAction, IoStatus};
use crate::bus::BusDevice;
use crate::life_cycle::Run;
use crate::virtio::device::VirtioDevice;

const EIO: Errno = Errno::EIO;

fn done() -> (super::super::Done, Receiver<()>) {
    let (sender, receiver): (Sender<()>, _) = channel();
    let done = move || {
        let _ = sender.send(());
    };
    (Box::new(done), receiver)
}

/// The driver resets the device, on a thread of its own, as a vCPU may wait.
fn reset_on_a_vcpu(machine: &Machine) -> Receiver<()> {
    let transport = Arc::clone(&machine.transport);
    let (sender, receiver) = channel();
    thread::spawn(move || {
        transport.write(STATUS_REGISTER, &[0; 4]);
        let _ = sender.send(());
    });
    receiver
}

#[test]
fn a_pause_is_drained_when_nothing_is_in_flight() {
    let mut machine = Setup::default().start();
    machine.pause().recv_timeout(DEADLINE).unwrap();
    machine.resume();
    let tokens = [0, 1].map(|slot| machine.submit(slot, IN, 0, 512).0);
    let drained = machine.pause();
    machine.end(tokens[1], Ok(()));
    machine.wait_used(1);
    machine.backend.barrier();
    assert!(drained.try_recv().is_err());
    machine.end(tokens[0], Ok(()));
    drained.recv_timeout(DEADLINE).unwrap();
    // The guest sees completions during the pause.
    assert_eq!(machine.take_used().len(), 1);
}

#[test]
fn a_resume_ends_a_pause_that_is_not_drained() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, IN, 0, 512).0;
    let drained = machine.pause();
    machine.resume();
    drained.recv_timeout(DEADLINE).unwrap();
    machine.end(token, Ok(()));
    machine.wait_used(1);
    machine.check_alive();
}

#[test]
fn a_reset_is_done_when_nothing_is_in_flight_and_nobody_is_answered() {
    let mut machine = Setup::default().start();
    let tokens = [0, 1].map(|slot| machine.submit(slot, IN, 0, 512).0);
    let (callback, reset) = done();
    machine.disk.reset(callback);
    machine.end(tokens[1], Ok(()));
    machine.backend.barrier();
    assert!(reset.try_recv().is_err());
    machine.end(tokens[0], Ok(()));
    reset.recv_timeout(DEADLINE).unwrap();
    machine.transport.power_on();
    assert_eq!(machine.used_index(), 0);
    assert_eq!([machine.status(0), machine.status(1)], [UNANSWERED; 2]);
    assert!(machine.line.read().is_err());
    machine.clear_rings();
    machine.initialize();
    machine.check_alive();
}

#[test]
fn a_driver_that_resets_waits_for_what_is_in_flight_and_has_its_ring_to_itself_after() {
    let mut machine = Setup::default().start();
    let tokens = [0, 1].map(|slot| machine.submit(slot, IN, 0, 512).0);
    let reset = reset_on_a_vcpu(&machine);
    machine.backend.barrier();
    assert!(reset.try_recv().is_err());
    machine.backend.end(tokens.map(|token| (token, Ok(()))));
    reset.recv_timeout(DEADLINE).unwrap();
    machine.clear_rings();
    machine.backend.barrier();
    assert_eq!(machine.used_index(), 0);
    machine.initialize();
    machine.check_alive();
}

#[test]
fn a_reset_forgets_held_requests() {
    let mut machine = Setup::policy("stop", "stop").start();
    let token = machine.submit(0, OUT, 0, 512).0;
    machine.end(token, Err(EIO));
    machine.hear_stop();
    machine.reset();
    machine.initialize();
    machine.resume();
    machine.check_alive();
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    assert_eq!(machine.used_index(), 1);
}

#[test]
fn a_reset_while_paused_lets_the_next_driver_wait_for_the_resume() {
    let mut machine = Setup::default().start();
    machine.pause();
    machine.reset();
    machine.initialize();
    machine.ask(0, GET_ID, 0, 20);
    machine.backend.barrier();
    assert_eq!(machine.used_index(), 0);
    machine.resume();
    machine.wait_used(1);
}

#[test]
fn an_error_is_heard_though_the_driver_that_asked_is_gone() {
    for (policy, action) in [("report", ErrorAction::Report), ("stop", ErrorAction::Stop)] {
        let mut machine = Setup::policy(policy, policy).start();
        let token = machine.submit(0, OUT, 0, 512).0;
        let (callback, reset) = done();
        machine.disk.reset(callback);
        machine.end(token, Err(EIO));
        let (error, io_status) = machine.hear_error();
        assert_eq!((error.kind, error.action), (ErrorKind::Write, action));
        if action == ErrorAction::Stop {
            assert_eq!(io_status, IoStatus::Failed);
            assert!(matches!(
                machine.hear(),
                super::fakes::Heard::Stop { run: Run(1), .. }
            ));
        }
        reset.recv_timeout(DEADLINE).unwrap();
        assert_eq!(machine.used_index(), 0);
        machine.transport.power_on();
        machine.clear_rings();
        machine.initialize();
        machine.resume();
        machine.check_alive();
        // It is not held: no driver waits for it.
        machine.backend.barrier();
        assert!(machine.backend.arrived().is_empty());
    }
}

#[test]
fn an_error_is_heard_though_the_queue_is_broken() {
    let mut machine = Setup::policy("stop", "report").start();
    let tokens = [0, 1].map(|slot| machine.submit(slot, OUT, 0, 512).0);
    machine.offer(64);
    machine.kick();
    machine.wait_needs_reset();
    machine.end(tokens[0], Err(EIO));
    assert_eq!(machine.hear_stop().errno, EIO);
    machine.end(tokens[1], Ok(()));
    machine.resume();
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    assert_eq!(machine.used_index(), 0);
    machine.recover();
}

#[test]
fn a_close_waits_for_what_is_in_flight_and_drops_what_is_held() {
    let mut machine = Setup::policy("stop", "stop").start();
    let tokens = [0, 1].map(|slot| machine.submit(slot, OUT, 0, 512).0);
    machine.end(tokens[0], Err(EIO));
    machine.hear_stop();
    let (callback, closed) = done();
    machine.disk.close(callback);
    machine.backend.barrier();
    assert!(closed.try_recv().is_err());
    machine.end(tokens[1], Ok(()));
    closed.recv_timeout(DEADLINE).unwrap();
    // The completed request was answered.
    assert_eq!(machine.take_used(), [(head_of(1), 1)]);
    assert!(machine.backend.arrived().is_empty());
    // Nothing blocks on the ended thread.
    machine.kick();
    machine.reset();
}

#[test]
fn a_second_close_does_not_silence_the_first() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, OUT, 0, 512).0;
    let (first, first_done) = done();
    let (second, second_done) = done();
    machine.disk.close(first);
    machine.disk.close(second);
    machine.end(token, Ok(()));
    first_done.recv_timeout(DEADLINE).unwrap();
    second_done.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_resume_that_comes_after_a_close_does_not_keep_the_disk_open() {
    let mut machine = Setup::policy("stop", "stop").start();
    let tokens = [0, 1].map(|slot| machine.submit(slot, OUT, 0, 512).0);
    machine.end(tokens[0], Err(EIO));
    machine.hear_stop();
    let drained = machine.pause();
    let (callback, closed) = done();
    machine.disk.close(callback);
    machine.resume();
    machine.ask(2, IN, 0, 512);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.end(tokens[1], Ok(()));
    closed.recv_timeout(DEADLINE).unwrap();
    drained.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_reset_in_the_middle_of_a_close_returns() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, IN, 0, 512).0;
    let (callback, closed) = done();
    machine.disk.close(callback);
    let (callback, reset) = done();
    machine.disk.reset(callback);
    machine.end(token, Ok(()));
    closed.recv_timeout(DEADLINE).unwrap();
    reset.recv_timeout(DEADLINE).unwrap();
    assert_eq!(machine.used_index(), 0);
}

#[test]
fn a_disk_that_goes_away_takes_its_thread_with_it() {
    let machine = Setup::default().start();
    let memory = machine.memory.clone();
    drop(machine);
    assert_eq!(Arc::strong_count(&memory), 1);
}

#[test]
fn resets_may_race_with_stops_and_continues() {
    let mut machine = Setup::policy("stop", "stop").start();
    // Every submitted request is held until the next resume or reset.
    machine.backend.end_at_once(Err(EIO));
    let disk = Arc::clone(&machine.disk);
    let main = thread::spawn(move || {
        for run in 2..1000 {
            disk.wake(Run(run));
            let (callback, drained) = done();
            disk.sleep(Box::new(|_| callback()));
            if run % 3 == 0 {
                drained.recv_timeout(DEADLINE).unwrap();
            }
        }
    });
    while !main.is_finished() {
        for slot in 0..4 {
            machine.ask(slot, OUT, 0, 512);
        }
        machine.reset();
        machine.initialize();
    }
    main.join().unwrap();
    machine.backend.end_at_once(Ok(()));
    machine.run = Run(1000);
    machine.resume();
    machine.recover();
}
