//! Discards and write-zeroes requests, and their lists.

use super::driver::*;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::policy::statistics::Kind;

const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

const DISCARD_FEATURE: u64 = 1 << 13;
const ZEROES_FEATURE: u64 = 1 << 14;

/// Longest range of the fake backend, in sectors, and the part of it that zeroes may have.
const LONGEST: u32 = 2048;
const LONGEST_ZEROES: u32 = LONGEST / 32;

fn setup() -> Setup {
    let setup = Setup {
        sectors: 4096,
        ..Setup::default()
    };
    with(setup, DISCARD_FEATURE | ZEROES_FEATURE)
}

fn with(mut setup: Setup, features: u64) -> Setup {
    setup.features |= features;
    setup
}

/// Sector, number of sectors, flags.
type Entry = (u64, u32, u32);

impl Machine {
    /// A request with a list, in slot 0.
    fn list(&mut self, kind: u32, entries: &[Entry]) {
        let list: Vec<u8> = entries
            .iter()
            .flat_map(|(sector, count, flags)| {
                let sector = sector.to_le_bytes();
                [&sector[..], &count.to_le_bytes(), &flags.to_le_bytes()].concat()
            })
            .collect();
        self.write(data_of(0), &list);
        // Split within entries.
        let length = u32::try_from(list.len()).unwrap();
        let first = length.min(7);
        let pieces = [
            self.head(0, kind, 0),
            readable(data_of(0), first),
            readable(data_of(0) + u64::from(first), length - first),
            Self::tail(0),
        ];
        self.ask_with(&pieces);
    }

    /// The status of a request with a list that does not reach the backend.
    fn refusal(&mut self, kind: u32, entries: &[Entry]) -> u8 {
        self.list(kind, entries);
        assert_eq!(self.wait_used(1), [(0, 1)]);
        assert!(self.backend.arrived().is_empty());
        self.status(0)
    }

    fn invalid(&self, kind: Kind) -> u64 {
        self.disk.statistics().counts(kind).invalid
    }
}

fn range(sector: u64, sectors: u64) -> Range {
    Range {
        offset: sector * 512,
        length: sectors * 512,
    }
}

#[test]
fn ranges_reach_the_backend_as_they_are_and_count_as_what_they_are() {
    let mut machine = setup().start();
    machine.list(DISCARD, &[(8, 16, 0), (4095, 1, 0), (4096, 0, 0)]);
    let (token, request) = machine.backend.next();
    let ranges = vec![range(8, 16), range(4095, 1), range(4096, 0)];
    assert_eq!(request.operation, Operation::Discard { ranges });
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(0, 1)]);
    assert_eq!(machine.status(0), OK);
    machine.list(WRITE_ZEROES, &[(0, LONGEST_ZEROES, 1)]);
    let (token, request) = machine.backend.next();
    let zeroes = Operation::WriteZeroes {
        ranges: vec![range(0, u64::from(LONGEST_ZEROES))],
        zeroing: Zeroing::MayUnmap,
        durability: Durability::Cached,
    };
    assert_eq!(request.operation, zeroes);
    machine.end(token, Ok(()));
    machine.wait_used(1);
    let counts = |kind| machine.disk.statistics().counts(kind);
    assert_eq!(
        (counts(Kind::Unmap).done, counts(Kind::Unmap).bytes),
        (1, 17 * 512)
    );
    let written = u64::from(LONGEST_ZEROES) * 512;
    assert_eq!(
        (counts(Kind::Write).done, counts(Kind::Write).bytes),
        (1, written)
    );
    assert_eq!(machine.disk.statistics().highest_written(), written);
}

#[test]
fn zeroes_keep_their_space_unless_every_range_may_lose_it() {
    let mut machine = setup().start();
    for (flags, expected) in [
        ([0, 0], Zeroing::KeepSpace),
        ([0, 1], Zeroing::KeepSpace),
        ([1, 0], Zeroing::KeepSpace),
        ([1, 1], Zeroing::MayUnmap),
    ] {
        machine.list(WRITE_ZEROES, &flags.map(|flags| (0, 1, flags)));
        let (token, request) = machine.backend.next();
        let Operation::WriteZeroes { zeroing, .. } = &request.operation else {
            panic!("{request:?}");
        };
        assert_eq!(*zeroing, expected);
        machine.end(token, Ok(()));
        machine.wait_used(1);
    }
}

#[test]
fn without_discards_zeroes_keep_their_space() {
    let mut setup = with(Setup::default(), ZEROES_FEATURE);
    setup.disk.withheld = vec![super::super::Feature::Discard];
    let mut machine = setup.start();
    assert_eq!(machine.space(56), [0]);
    machine.list(WRITE_ZEROES, &[(0, 1, 1)]);
    let (token, request) = machine.backend.next();
    let Operation::WriteZeroes { zeroing, .. } = &request.operation else {
        panic!("{request:?}");
    };
    assert_eq!(*zeroing, Zeroing::KeepSpace);
    machine.end(token, Ok(()));
    machine.wait_used(1);
}

#[test]
fn a_driver_without_flush_gets_durable_zeroes() {
    let mut setup = setup();
    setup.features &= !FLUSH_FEATURE;
    let mut machine = setup.start();
    machine.list(WRITE_ZEROES, &[(0, 1, 0)]);
    let (token, request) = machine.backend.next();
    let durable = |operation: &Operation| {
        matches!(
            operation,
            Operation::WriteZeroes {
                durability: Durability::Durable,
                ..
            }
        )
    };
    assert!(durable(&request.operation));
    machine.end(token, Ok(()));
    machine.wait_used(1);
}

#[test]
fn an_invalid_range_is_an_error_and_counted_as_invalid() {
    let mut machine = setup().start();
    let wrong: [&[Entry]; 7] = [
        &[],
        &[(4096, 1, 0)],
        &[(4095, 2, 0)],
        &[(u64::MAX, 1, 0)],
        &[(u64::MAX - 1, u32::MAX, 0)],
        &[(0, LONGEST + 1, 0)],
        &[(0, 1, 0), (0, u32::MAX, 0)],
    ];
    for (count, entries) in (1..).zip(wrong) {
        for (kind, counted) in [(DISCARD, Kind::Unmap), (WRITE_ZEROES, Kind::Write)] {
            assert_eq!(machine.refusal(kind, entries), IOERR, "{entries:?}");
            assert_eq!(machine.invalid(counted), count);
        }
    }
    let too_long = [(0, LONGEST_ZEROES + 1, 0)];
    assert_eq!(machine.refusal(WRITE_ZEROES, &too_long), IOERR);
    let many = vec![(0, 1, 0); 33];
    assert_eq!(machine.refusal(DISCARD, &many), IOERR);
    assert_eq!(machine.refusal(WRITE_ZEROES, &many), IOERR);
}

#[test]
fn a_list_that_is_not_made_of_ranges_is_an_error() {
    let mut machine = setup().start();
    for kind in [DISCARD, WRITE_ZEROES] {
        for length in [1, 15, 17, 0xfff0] {
            let head = machine.head(0, kind, 0);
            machine.ask_with(&[head, readable(data_of(0), length), Machine::tail(0)]);
            machine.wait_used(1);
            assert_eq!(machine.status(0), IOERR, "{length}");
        }
        let head = machine.head(0, kind, 0);
        let outside = readable(MEMORY - 8, 16);
        machine.ask_with(&[head, outside, Machine::tail(0)]);
        machine.wait_used(1);
        assert_eq!(machine.status(0), IOERR);
        let head = machine.head(0, kind, 0);
        let data = readable(data_of(0), 16);
        machine.ask_with(&[head, data, writable(data_of(1), 16), Machine::tail(0)]);
        machine.wait_used(1);
        assert_eq!(machine.status(0), IOERR);
    }
    assert!(machine.backend.arrived().is_empty());
}

#[test]
fn flags_that_nobody_knows_are_not_supported() {
    let mut machine = setup().start();
    assert_eq!(machine.refusal(DISCARD, &[(0, 1, 0), (0, 1, 1)]), UNSUPP);
    for flags in [2, 3, 1 << 31] {
        assert_eq!(machine.refusal(DISCARD, &[(0, 1, flags)]), UNSUPP);
        assert_eq!(machine.refusal(WRITE_ZEROES, &[(0, 1, flags)]), UNSUPP);
    }
    assert_eq!(machine.invalid(Kind::Unmap), 0);
}

#[test]
fn requests_of_features_not_negotiated_are_unsupported() {
    let mut machine = with(Setup::default(), ZEROES_FEATURE).start();
    assert_eq!(machine.refusal(DISCARD, &[(0, 1, 0)]), UNSUPP);
    let mut machine = with(Setup::default(), DISCARD_FEATURE).start();
    assert_eq!(machine.refusal(WRITE_ZEROES, &[(0, 1, 0)]), UNSUPP);
    let read_only = Setup {
        access: Access::ReadOnly,
        ..Setup::default()
    };
    let mut machine = read_only.start();
    for kind in [DISCARD, WRITE_ZEROES] {
        assert_eq!(machine.refusal(kind, &[(0, 1, 0)]), UNSUPP);
    }
    machine.set_register(0x014, 0);
    let offered = u64::from(machine.register(0x010));
    assert_eq!(offered & (DISCARD_FEATURE | ZEROES_FEATURE), 0);
}

#[test]
fn an_error_takes_the_way_of_a_failed_write() {
    let mut setup = setup();
    setup.policy.on_write = "stop".parse().unwrap();
    let mut machine = setup.start();
    machine.list(DISCARD, &[(8, 8, 0)]);
    let (token, first) = machine.backend.next();
    machine.end(token, Err(Errno::ENOSPC));
    assert_eq!(machine.hear_stop().kind, super::super::ErrorKind::Write);
    machine.resume();
    let (token, second) = machine.backend.next();
    assert_eq!(first.operation, second.operation);
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!(machine.status(0), OK);
}
