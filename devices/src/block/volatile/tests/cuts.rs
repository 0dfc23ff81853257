//! What a seed means.

use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::power_cut::{Loss, PowerCut, Survival};
use crate::block::model::request::{Range, Zeroing};
use crate::block::volatile::cut::{Remains, remains};
use crate::block::volatile::log::{Change, Content};

fn range(sector: u64, sectors: u64) -> Range {
    Range {
        offset: sector * 512,
        length: sectors * 512,
    }
}

fn write(sector: u64, sectors: usize) -> Change {
    Change::write(sector * 512, IoBuffers::own(sectors * 512))
}

fn zeroes(ranges: &[Range]) -> Change {
    Change {
        ranges: ranges.to_vec(),
        content: Content::Zeroes(Zeroing::KeepSpace),
    }
}

fn discard(range: Range) -> Change {
    Change {
        ranges: vec![range],
        content: Content::Discarded,
    }
}

fn cut(survival: Survival, seed: u64, tear_bytes: u32) -> PowerCut {
    PowerCut {
        survival,
        seed,
        tear_bytes,
    }
}

/// All ranges that survive, with the torn one.
fn survivors(remains: &Remains) -> Vec<(u64, u64)> {
    let whole = remains.changes.iter().flat_map(|change| &change.ranges);
    let torn = remains
        .torn
        .iter()
        .map(|torn| (torn.offset, torn.bytes.length()));
    whole
        .map(|range| (range.offset, range.length))
        .chain(torn)
        .collect()
}

#[test]
fn what_survives_a_cut_with_a_seed_never_changes() {
    let log = [
        write(0, 4),
        zeroes(&[range(8, 2), range(12, 2)]),
        write(20, 8),
        write(3, 8),
    ];
    let of = |survival, seed, tear| {
        let remains = remains(&log, &cut(survival, seed, tear));
        (
            survivors(&remains),
            remains.loss.writes,
            remains.loss.sectors,
        )
    };
    let whole = [(0, 2048), (4096, 1024), (6144, 512)];
    assert_eq!(of(Survival::Prefix, 1, 512), (whole.to_vec(), 3, 17));
    // Two sectors, and all but sixteen bytes of the third.
    let torn = [(0, 1024), (1024, 496)];
    assert_eq!(of(Survival::Prefix, 2, 16), (torn.to_vec(), 4, 22));
    let some = [
        (0, 512),
        (1536, 512),
        (6144, 1024),
        (11264, 512),
        (13824, 512),
        (1536, 512),
    ];
    assert_eq!(of(Survival::Random, 1, 512), (some.to_vec(), 4, 17));
    let some = [
        (0, 1024),
        (1536, 512),
        (4096, 1024),
        (6144, 1024),
        (10240, 512),
        (11264, 2560),
        (1536, 3072),
        (4608, 176),
    ];
    assert_eq!(of(Survival::Random, 2, 16), (some.to_vec(), 3, 5));
}

#[test]
fn none_and_all_need_no_chance() {
    let log = [
        write(0, 4),
        discard(range(0, 64)),
        zeroes(&[range(8, 2), range(12, 1)]),
    ];
    for seed in 0..10 {
        let none = remains(&log, &cut(Survival::None, seed, 512));
        let all = remains(&log, &cut(Survival::All, seed, 512));
        assert!(survivors(&none).is_empty());
        let lost = Loss {
            writes: 2,
            sectors: 7,
        };
        assert_eq!((none.loss, all.loss), (lost, Loss::default()));
        assert_eq!(survivors(&all).len(), 4);
    }
}

#[test]
fn a_prefix_may_be_any_and_the_write_after_it_is_torn_at_its_beginning() {
    let log: Vec<_> = (0..6).map(|index| write(index * 10, 3)).collect();
    let mut counts = [0; 7];
    let mut tears = [0; 3];
    for seed in 0..700 {
        let remains = remains(&log, &cut(Survival::Prefix, seed, 512));
        let bytes: u64 = survivors(&remains).iter().map(|(_, length)| length).sum();
        let sectors = bytes / 512;
        assert_eq!(remains.loss.sectors, 18 - sectors);
        let whole = usize::try_from(sectors / 3).unwrap();
        assert_eq!(remains.loss.writes, 6 - whole as u64);
        for (index, (offset, length)) in survivors(&remains).into_iter().enumerate() {
            assert_eq!(offset, index as u64 * 5120);
            assert!(length == 3 * 512 || index == whole);
        }
        assert!(remains.torn.is_none());
        counts[whole] += 1;
        tears[usize::try_from(sectors % 3).unwrap()] += usize::from(whole < 6);
    }
    assert!(
        counts.iter().all(|count| (60..140).contains(count)),
        "{counts:?}"
    );
    assert!(
        tears.iter().all(|count| (150..250).contains(count)),
        "{tears:?}"
    );
}

#[test]
fn a_tear_inside_a_sector_leaves_its_first_bytes() {
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..2000 {
        for change in [write(5, 1), zeroes(&[range(5, 1)])] {
            let remains = remains(&[change], &cut(Survival::Random, seed, 64));
            assert!(remains.changes.is_empty());
            let expected = Loss {
                writes: 1,
                sectors: 1,
            };
            assert_eq!(remains.loss, expected);
            let torn = remains.torn.map_or(0, |torn| {
                assert_eq!(torn.offset, 5 * 512);
                torn.bytes.length()
            });
            places.insert(torn);
        }
    }
    let expected: Vec<_> = (0..512).step_by(64).collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn each_sector_has_its_own_coin() {
    let log = [write(0, 64), write(100, 1)];
    let mut alive = [0; 64];
    let mut patterns = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let remains = remains(&log, &cut(Survival::Random, seed, 512));
        let survivors = survivors(&remains);
        for (offset, length) in &survivors {
            for sector in offset / 512..(offset + length) / 512 {
                alive[usize::try_from(sector).unwrap()] += 1;
            }
        }
        let bytes: u64 = survivors.iter().map(|(_, length)| length).sum();
        assert_eq!(remains.loss.sectors, 65 - bytes / 512);
        patterns.insert(survivors);
    }
    assert!(
        alive.iter().all(|count| (140..260).contains(count)),
        "{alive:?}"
    );
    assert_eq!(patterns.len(), 400);
}

#[test]
fn zeroes_survive_by_ranges_and_discards_count_as_nothing() {
    let log = [
        zeroes(&[range(0, 4), range(8, 4)]),
        discard(range(40, 8)),
        write(100, 1),
        discard(range(60, 8)),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let remains = remains(&log, &cut(Survival::Random, seed, 512));
        let survivors = survivors(&remains);
        let kept = survivors
            .iter()
            .filter(|(_, length)| *length == 4 * 512)
            .count() as u64;
        let writes = 1 + u64::from(kept < 2);
        let sectors = 1 + (2 - kept) * 4;
        assert_eq!(remains.loss, Loss { writes, sectors });
        seen.insert(survivors);
    }
    assert_eq!(seen.len(), 16);
}
