//! The write threshold.

use super::driver::*;
use super::fakes::Heard;
use crate::block::model::errno::Errno;
use crate::block::policy::write_threshold::Exceeded;

fn exceeded(machine: &Machine) -> Exceeded {
    match machine.hear() {
        Heard::Exceeded(exceeded) => exceeded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_write_beyond_the_threshold_is_reported_before_its_submission() {
    let mut machine = Setup::default().start();
    machine.disk.write_threshold().set(1024);
    machine.submit(0, OUT, 0, 1024);
    machine.submit(1, IN, 8, 512);
    assert!(machine.heard.try_recv().is_err());
    machine.submit(2, OUT, 1, 1024);
    let first = Exceeded {
        threshold: 1024,
        amount: 512,
    };
    // The notification is there already.
    assert_eq!(machine.heard.try_recv().unwrap(), Heard::Exceeded(first));
    assert_eq!(machine.disk.write_threshold().get(), 0);
    machine.submit(3, OUT, 8, 512);
    machine.backend.barrier();
    assert!(machine.heard.try_recv().is_err());
    machine.disk.write_threshold().set(1);
    machine.submit(4, OUT, 0, 512);
    assert_eq!(exceeded(&machine).amount, 511);
}

#[test]
fn a_resubmitted_request_is_matched_again() {
    let mut machine = Setup::policy("stop", "report").start();
    let (token, _) = machine.submit(0, OUT, 3, 512);
    machine.end(token, Err(Errno::EIO));
    machine.hear_stop();
    machine.disk.write_threshold().set(512);
    machine.resume();
    let amount = 3 * 512;
    assert_eq!(exceeded(&machine).amount, amount);
}
