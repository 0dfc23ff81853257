//! The statistics of each kind of request.

use super::driver::*;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::policy::statistics::{Counts, Kind};

/// The counts of a kind, with the time cleared.
fn counts(machine: &Machine, kind: Kind) -> Counts {
    Counts {
        time_ns: 0,
        ..machine.disk.statistics().counts(kind)
    }
}

#[test]
fn each_completion_is_counted_by_the_result_for_the_guest() {
    // Reads are reported, writes and flushes ignored.
    let mut machine = Setup::policy("ignore", "report").start();
    for (slot, (kind, length, end)) in [
        (IN, 1024, Ok(())),
        (IN, 512, Err(Errno::EIO)),
        (OUT, 512, Ok(())),
        (OUT, 2048, Err(Errno::ENOSPC)),
        (FLUSH, 0, Ok(())),
        (FLUSH, 0, Err(Errno::EIO)),
    ]
    .into_iter()
    .enumerate()
    {
        let slot = u16::try_from(slot).unwrap();
        let sector = if length == 2048 { 40 } else { 8 };
        let (token, _) = machine.submit(slot, kind, sector, length);
        machine.end(token, end);
        machine.wait_used(1);
    }
    let read = Counts {
        bytes: 1024,
        done: 1,
        failed: 1,
        ..Counts::default()
    };
    assert_eq!(counts(&machine, Kind::Read), read);
    let write = Counts {
        bytes: 512 + 2048,
        done: 2,
        ..Counts::default()
    };
    assert_eq!(counts(&machine, Kind::Write), write);
    let flush = Counts {
        done: 2,
        ..Counts::default()
    };
    assert_eq!(counts(&machine, Kind::Flush), flush);
    // A failed write has written nothing, whatever its status.
    let statistics = machine.disk.statistics();
    assert_eq!(statistics.highest_written(), 9 * 512);
    assert!(statistics.counts(Kind::Read).time_ns > 0);
}

#[test]
fn invalid_requests_are_counted_and_other_types_are_not() {
    let mut machine = Setup {
        access: Access::ReadOnly,
        ..Setup::default()
    }
    .start();
    for (slot, (kind, sector, length)) in [
        (IN, 64, 512),
        (IN, u64::MAX, 512),
        (IN, 0, 511),
        (OUT, 0, 512),
        (GET_ID, 0, 20),
        (99, 0, 512),
    ]
    .into_iter()
    .enumerate()
    {
        machine.ask(u16::try_from(slot).unwrap(), kind, sector, length);
        machine.wait_used(1);
    }
    let invalid = |invalid| Counts {
        invalid,
        ..Counts::default()
    };
    assert_eq!(counts(&machine, Kind::Read), invalid(3));
    assert_eq!(counts(&machine, Kind::Write), invalid(1));
    assert_eq!(counts(&machine, Kind::Flush), invalid(0));
}

#[test]
fn a_held_request_is_counted_once_when_it_ends() {
    let mut machine = Setup::policy("stop", "report").start();
    let (token, _) = machine.submit(0, OUT, 0, 512);
    for _ in 0..3 {
        machine.end(token, Err(Errno::EIO));
        machine.hear_stop();
        machine.backend.barrier();
        assert_eq!(counts(&machine, Kind::Write), Counts::default());
        machine.resume();
        machine.backend.next();
    }
    machine.end(token, Ok(()));
    machine.wait_used(1);
    let once = Counts {
        bytes: 512,
        done: 1,
        ..Counts::default()
    };
    assert_eq!(counts(&machine, Kind::Write), once);
}
