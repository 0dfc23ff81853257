//! Resizing a disk.

use std::sync::mpsc::{Receiver, channel};

use super::driver::*;
use super::fakes::DEADLINE;
use crate::block::model::errno::Errno;
use crate::block::model::request::Operation;
use crate::virtio::device::VirtioDevice;

const INTERRUPT_STATUS: u64 = 0x060;
const GENERATION: u64 = 0x0fc;
/// The interrupt's cause.
const CHANGED: u32 = 2;

impl Machine {
    fn resize(&self, sectors: u64) -> Receiver<Result<(), Errno>> {
        let (sender, receiver) = channel();
        let done = move |result| {
            let _ = sender.send(result);
        };
        self.disk.resize(sectors * 512, Box::new(done));
        receiver
    }

    fn capacity(&self) -> u64 {
        u64::from_le_bytes(self.space(0))
    }
}

fn settled(receiver: &Receiver<Result<(), Errno>>) -> Result<(), Errno> {
    receiver.recv_timeout(DEADLINE).unwrap()
}

#[test]
fn a_running_driver_is_notified_of_a_resize() {
    let mut machine = Setup::default().start();
    machine.check_alive();
    machine.set_register(0x064, 3);
    let before = machine.register(GENERATION);
    assert_eq!(settled(&machine.resize(128)), Ok(()));
    assert_eq!(machine.capacity(), 128);
    assert_ne!(machine.register(GENERATION), before);
    machine.wait_until(|machine| machine.register(INTERRUPT_STATUS) == CHANGED);
    let (token, request) = machine.submit(0, OUT, 127, 512);
    assert_eq!(request.end(), 128 * 512);
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!(settled(&machine.resize(8)), Ok(()));
    machine.ask(0, IN, 8, 512);
    machine.wait_used(1);
    assert_eq!(machine.status(0), IOERR);
}

#[test]
fn a_driver_that_is_not_ready_is_not_interrupted() {
    let machine = Setup::default().stopped();
    assert_eq!(settled(&machine.resize(128)), Ok(()));
    assert_eq!(machine.capacity(), 128);
    assert_eq!(machine.register(INTERRUPT_STATUS), 0);
    assert!(machine.line.read().is_err());
}

#[test]
fn a_driver_is_notified_of_an_earlier_resize_once_it_is_ready() {
    let mut machine = Setup::default().stopped();
    assert_eq!(settled(&machine.resize(128)), Ok(()));
    machine.initialize();
    machine.wait_until(|machine| machine.register(INTERRUPT_STATUS) == CHANGED);
    // Once.
    machine.reset();
    machine.initialize();
    machine.backend.barrier();
    assert_eq!(machine.register(INTERRUPT_STATUS), 0);
}

#[test]
fn a_resize_drains_and_submits_nothing_new() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, OUT, 0, 512).0;
    let (first, second) = (machine.resize(32), machine.resize(16));
    machine.backend.barrier();
    machine.ask(1, OUT, 8, 512);
    machine.ask(2, OUT, 63, 512);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    assert!(first.try_recv().is_err());
    machine.end(token, Ok(()));
    assert_eq!((settled(&first), settled(&second)), (Ok(()), Ok(())));
    // Chains that waited in the ring are checked against the new size.
    let (token, request) = machine.backend.next();
    assert!(matches!(
        request.operation,
        Operation::Write { offset: 4096, .. }
    ));
    machine.end(token, Ok(()));
    machine.wait_used(3);
    assert_eq!([0, 1, 2].map(|slot| machine.status(slot)), [OK, OK, IOERR]);
}

#[test]
fn a_refusal_leaves_everything_as_it_was() {
    let mut machine = Setup::default().start();
    let before = machine.register(GENERATION);
    machine.backend.refuse_to_resize(Errno::EFBIG);
    assert_eq!(settled(&machine.resize(128)), Err(Errno::EFBIG));
    assert_eq!(machine.capacity(), 64);
    assert_eq!(machine.register(GENERATION), before);
    assert_eq!(machine.register(INTERRUPT_STATUS) & CHANGED, 0);
    machine.check_alive();
}

#[test]
fn held_requests_beyond_the_new_end_fail_again() {
    let mut setup = Setup::policy("stop", "stop");
    setup.sectors = 64;
    let mut machine = setup.start();
    let inside = machine.submit(0, OUT, 0, 512).0;
    let outside = machine.submit(1, OUT, 63, 512).0;
    for token in [inside, outside] {
        machine.end(token, Err(Errno::ENOSPC));
        machine.hear_stop();
    }
    assert_eq!(settled(&machine.resize(32)), Ok(()));
    machine.resume();
    assert_eq!(machine.hear_stop().errno, Errno::EIO);
    // Only the request within the new size is resubmitted.
    assert_eq!(machine.backend.next().0, inside);
    machine.end(inside, Ok(()));
    machine.wait_used(1);
    assert!(machine.backend.arrived().is_empty());
    assert_eq!((machine.status(0), machine.status(1)), (OK, UNANSWERED));
    assert_eq!(settled(&machine.resize(64)), Ok(()));
    machine.resume();
    assert_eq!(machine.backend.next().0, outside);
    machine.end(outside, Ok(()));
    machine.wait_used(1);
    assert_eq!(machine.status(1), OK);
}

#[test]
fn a_reset_and_the_end_do_not_lose_the_answer() {
    let mut machine = Setup::policy("stop", "stop").start();
    let token = machine.submit(0, OUT, 0, 512).0;
    machine.end(token, Err(Errno::EIO));
    machine.hear_stop();
    let answer = machine.resize(16);
    machine.reset();
    assert_eq!(settled(&answer), Ok(()));
    machine.initialize();
    machine.resume();
    machine.check_alive();
    assert_eq!(machine.capacity(), 16);
    let token = machine.submit(1, OUT, 0, 512).0;
    let answer = machine.resize(32);
    machine.disk.close(Box::new(|| ()));
    machine.end(token, Ok(()));
    assert_eq!(settled(&answer), Ok(()));
}

#[test]
fn requests_go_on_while_a_new_length_is_prepared() {
    let mut machine = Setup::default().start();
    machine.backend.prepare_resizes(true);
    let (first, second) = (machine.resize(32), machine.resize(16));
    machine.backend.barrier();
    let (token, _) = machine.submit(0, OUT, 63, 512);
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!((machine.status(0), machine.capacity()), (OK, 64));
    // The machine can still be stopped and continued.
    machine.pause().recv_timeout(DEADLINE).unwrap();
    machine.resume();
    assert!(first.try_recv().is_err());
    machine.backend.prepared();
    assert_eq!(settled(&first), Ok(()));
    assert_eq!(machine.capacity(), 32);
    machine.backend.barrier();
    assert!(second.try_recv().is_err());
    machine.backend.prepared();
    assert_eq!(settled(&second), Ok(()));
    assert_eq!(machine.capacity(), 16);
}

#[test]
fn a_length_that_is_being_prepared_holds_up_no_end() {
    let machine = Setup::default().start();
    machine.backend.prepare_resizes(true);
    let resize = machine.resize(32);
    machine.backend.barrier();
    drop(machine);
    assert_eq!(settled(&resize), Err(Errno(libc::ECANCELED)));
}
