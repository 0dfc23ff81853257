//! Invalid requests and queues: the status of virtio 1.2 §5.2.6, or DEVICE_NEEDS_RESET and a device
//! that works after a reset.

use super::driver::*;
use crate::block::model::access::Access;

/// A request that is answered at once, without reaching the backend or the observer.
fn refused(setup: Setup, kind: u32, sector: u64, parts: &[Part]) -> u8 {
    let mut machine = setup.start();
    let head = machine.head(0, kind, sector);
    let parts = [&[head], parts].concat();
    machine.ask_with(&parts);
    assert_eq!(machine.wait_used(1), [(0, 1)]);
    assert!(machine.backend.arrived().is_empty());
    assert!(machine.heard.try_recv().is_err());
    let status = machine.status(0);
    // It continues without a reset.
    assert!(!machine.needs_reset());
    machine.check_alive();
    status
}

/// A chain that leaves the device no place for an answer.
fn breaks(place: impl Fn(&mut Machine)) {
    let mut machine = Setup::default().start();
    place(&mut machine);
    machine.kick();
    machine.wait_needs_reset();
    assert_eq!(machine.register(0x060) & 2, 2, "no configuration interrupt");
    // Nothing works until the driver resets.
    machine.kick();
    machine.backend.barrier();
    assert_eq!(machine.used_index(), 0);
    assert!(machine.backend.arrived().is_empty());
    machine.recover();
}

fn reads(length: u32) -> [Part; 2] {
    [writable(data_of(0), length), Machine::tail(0)]
}

fn writes(length: u32) -> [Part; 2] {
    [readable(data_of(0), length), Machine::tail(0)]
}

#[test]
fn a_request_of_an_unknown_type_is_unsupported() {
    // 2 and 3 were SCSI commands, 11 and 13 are discard and write zeroes, which are not offered.
    for kind in [2, 3, 5, 9, 11, 13, 14, 0x8000_0000, u32::MAX] {
        let status = refused(Setup::default(), kind, 0, &reads(512));
        assert_eq!(status, UNSUPP, "type {kind}");
        let status = refused(Setup::default(), kind, u64::MAX, &writes(512));
        assert_eq!(status, UNSUPP, "type {kind}");
    }
}

#[test]
fn a_place_past_the_end_of_the_disk_is_an_error() {
    for (sector, length) in [
        (64, 512),
        (63, 1024),
        (65, 0),
        (u64::MAX, 512),
        // In bytes, these wrap around to the disk's start.
        (1 << 55, 512),
        (u64::MAX / 512 + 1, 512),
    ] {
        let status = refused(Setup::default(), IN, sector, &reads(length));
        assert_eq!(status, IOERR, "{sector}+{length}");
        let status = refused(Setup::default(), OUT, sector, &writes(length));
        assert_eq!(status, IOERR, "{sector}+{length}");
    }
}

#[test]
fn a_length_that_is_not_a_multiple_of_a_sector_is_an_error() {
    for length in [1, 511, 513] {
        assert_eq!(refused(Setup::default(), IN, 0, &reads(length)), IOERR);
        assert_eq!(refused(Setup::default(), OUT, 0, &writes(length)), IOERR);
    }
}

#[test]
fn data_outside_memory_is_an_error() {
    for address in [MEMORY, MEMORY - 256, u64::MAX - 255, u64::MAX, 1 << 63] {
        let parts = [writable(address, 512), Machine::tail(0)];
        assert_eq!(refused(Setup::default(), IN, 0, &parts), IOERR);
        let parts = [readable(address, 512), Machine::tail(0)];
        assert_eq!(refused(Setup::default(), OUT, 0, &parts), IOERR);
        // A serial has at most 20 bytes.
        if address != MEMORY - 256 {
            let parts = [writable(address, 20), Machine::tail(0)];
            assert_eq!(refused(Setup::default(), GET_ID, 0, &parts), IOERR);
        }
    }
}

#[test]
fn a_read_only_disk_refuses_writes() {
    for features in [VERSION_1, VERSION_1 | 1 << 5] {
        let setup = Setup {
            access: Access::ReadOnly,
            features,
            ..Setup::default()
        };
        assert_eq!(refused(setup, OUT, 0, &writes(512)), IOERR);
    }
}

#[test]
fn data_in_the_wrong_direction_is_an_error() {
    let both = [
        readable(data_of(0), 512),
        writable(data_of(1), 512),
        Machine::tail(0),
    ];
    assert_eq!(refused(Setup::default(), IN, 0, &both), IOERR);
    assert_eq!(refused(Setup::default(), OUT, 0, &both), IOERR);
}

#[test]
fn a_request_without_a_place_for_its_status_breaks_the_queue() {
    breaks(|machine| {
        let head = machine.head(0, OUT, 0);
        machine.ask_with(&[head, readable(data_of(0), 512)]);
    });
    breaks(|machine| {
        let head = machine.head(0, IN, 0);
        machine.ask_with(&[head, writable(data_of(0), 0)]);
    });
    for address in [MEMORY, u64::MAX] {
        breaks(|machine| {
            let head = machine.head(0, IN, 0);
            machine.ask_with(&[head, writable(data_of(0), 512), writable(address, 1)]);
        });
    }
    breaks(|machine| {
        let head = machine.head(0, IN, 0);
        machine.ask_with(&[head, writable(u64::MAX, 2)]);
    });
}

#[test]
fn a_request_without_a_header_breaks_the_queue() {
    breaks(|machine| machine.ask_with(&[Machine::tail(0)]));
    breaks(|machine| machine.ask_with(&[readable(header_of(0), 15), Machine::tail(0)]));
    for address in [MEMORY, MEMORY - 8, u64::MAX - 3] {
        breaks(|machine| machine.ask_with(&[readable(address, 16), Machine::tail(0)]));
    }
}

#[test]
fn an_invalid_chain_breaks_the_queue() {
    // A loop.
    breaks(|machine| {
        machine.describe(TABLE, 0, (header_of(0), 16, NEXT, 0));
        machine.offer(0);
    });
    // Past the table.
    breaks(|machine| {
        machine.describe(TABLE, 0, (header_of(0), 16, NEXT, 64));
        machine.offer(0);
    });
    breaks(|machine| machine.offer(64));
    breaks(|machine| machine.offer(u16::MAX));
    // Readable after writable.
    breaks(|machine| machine.ask_with(&[Machine::tail(0), readable(header_of(0), 16)]));
    // Indirect tables inside one another, empty, or nowhere.
    for (address, length) in [
        (INDIRECT_TABLE, 32),
        (INDIRECT_TABLE, 0),
        (INDIRECT_TABLE, 31),
        (MEMORY, 32),
        (u64::MAX - 15, 32),
    ] {
        breaks(|machine| {
            machine.describe(INDIRECT_TABLE, 0, (INDIRECT_TABLE, 32, INDIRECT, 0));
            machine.describe(TABLE, 0, (address, length, INDIRECT, 0));
            machine.offer(0);
        });
    }
}

#[test]
fn an_available_index_that_runs_ahead_breaks_the_queue() {
    for index in [65, 0x8000, u16::MAX] {
        breaks(|machine| {
            // Every entry of the ring is valid, but the index exceeds their number.
            let head = machine.head(0, GET_ID, 0);
            machine.place(TABLE, 0, &[head, Machine::tail(0)]);
            machine.set_u16(AVAILABLE + 2, index);
        });
    }
}

#[test]
fn a_broken_chain_does_not_take_the_answers_before_it_back() {
    let mut machine = Setup::default().start();
    machine.queue(1, GET_ID, 0, 20);
    machine.offer(64);
    machine.kick();
    machine.wait_needs_reset();
    assert_eq!(machine.take_used(), [(head_of(1), 21)]);
    machine.recover();
}

#[test]
fn a_queue_in_an_impossible_place_needs_a_reset() {
    let place = |table, available, used| Setup {
        table,
        available,
        used,
        ..Setup::default()
    };
    let size = |queue_size| Setup {
        queue_size,
        ..Setup::default()
    };
    for setup in [
        place(TABLE + 8, AVAILABLE, USED),
        place(TABLE, AVAILABLE + 1, USED),
        place(TABLE, AVAILABLE, USED + 2),
        place(MEMORY, AVAILABLE, USED),
        place(MEMORY - 16 * 63, AVAILABLE, USED),
        place(TABLE, MEMORY - 4, USED),
        place(TABLE, AVAILABLE, MEMORY - 4),
        place(0u64.wrapping_sub(16), AVAILABLE, USED),
        place(TABLE, 0u64.wrapping_sub(2), USED),
        place(TABLE, AVAILABLE, 0u64.wrapping_sub(4)),
        size(0),
        size(3),
        size(512),
        size(u16::MAX),
    ] {
        let mut machine = setup.start();
        machine.wait_needs_reset();
        machine.kick();
        machine.setup = Setup::default();
        machine.recover();
    }
}

#[test]
fn a_chain_made_available_over_and_over_is_not_taken_more_often_than_the_queue_is_long() {
    let mut machine = Setup::default().start();
    machine.queue(0, IN, 0, 512);
    for _ in 0..63 {
        machine.offer(0);
    }
    machine.kick();
    machine.backend.barrier();
    assert_eq!(machine.backend.arrived().len(), 64);
    assert!(!machine.needs_reset());
    machine.offer(0);
    machine.kick();
    machine.wait_needs_reset();
    assert!(machine.backend.arrived().is_empty());
}

#[test]
fn held_requests_count_as_taken() {
    let mut machine = Setup::policy("stop", "stop").start();
    machine.queue(0, IN, 0, 512);
    for _ in 0..63 {
        machine.offer(0);
    }
    machine.kick();
    machine.backend.barrier();
    let taken = machine.backend.arrived();
    let eio = crate::block::model::errno::Errno::EIO;
    // All but one fail and are held; they count as unanswered after their resubmission.
    machine
        .backend
        .end(taken[1..].iter().map(|(token, _)| (*token, Err(eio))));
    machine.hear_stop();
    machine.offer(0);
    machine.resume();
    machine.wait_needs_reset();
    assert_eq!(machine.backend.arrived().len(), 63);
}
