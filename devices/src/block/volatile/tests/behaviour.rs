//! One thing after the other.

use super::cache;
use crate::block::model::backend::Backend;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Loss, PowerCut, Survival};
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::{Bench, read, write};
use crate::block::volatile::VolatileCache;

const MIB: u64 = 1 << 20;

fn cut(survival: Survival) -> PowerCut {
    PowerCut {
        survival,
        seed: 1,
        tear_bytes: 512,
    }
}

/// Writes sectors of this byte, and says how it ended.
fn put<I>(bench: &mut Bench<I>, sector: u64, count: u32, byte: u8) -> Result<(), Errno> {
    bench.put(0, &vec![byte; count as usize * 512]);
    bench.perform(write(sector * 512), &[(0, count * 512)])
}

/// The first byte of each of these sectors.
fn get<I>(bench: &mut Bench<I>, sector: u64, count: u32) -> Vec<u8> {
    let result = bench.perform(read(sector * 512), &[(MIB, count * 512)]);
    assert_eq!(result, Ok(()));
    let bytes = bench.get(MIB, count as usize * 512);
    let sectors = bytes.chunks(512);
    sectors
        .map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]));
            sector[0]
        })
        .collect()
}

#[test]
fn a_write_is_visible_at_once_and_durable_after_a_flush() {
    let mut bench = cache(8, MIB, 1);
    assert_eq!(put(&mut bench, 2, 3, 7), Ok(()));
    assert_eq!(put(&mut bench, 3, 1, 8), Ok(()));
    assert_eq!(get(&mut bench, 0, 8), [0, 0, 7, 8, 7, 0, 0, 0]);
    assert_eq!(get(&mut bench, 3, 1), [8]);
    assert_eq!(bench.image.state().bytes, vec![0; 8 * 512]);
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    let state = bench.image.state();
    assert_eq!(
        state.durable[3 * 512..][..1024],
        [[8; 512], [7; 512]].concat()
    );
    assert_eq!(state.flushes, 1);
}

#[test]
fn a_power_cut_loses_what_was_not_flushed_and_nothing_else() {
    let mut bench = cache(8, MIB, 1);
    assert_eq!(put(&mut bench, 0, 2, 1), Ok(()));
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    assert_eq!(put(&mut bench, 1, 2, 2), Ok(()));
    assert_eq!(put(&mut bench, 1, 1, 3), Ok(()));
    let lost = bench.backend.power_cut(&cut(Survival::None));
    let expected = Loss {
        writes: 2,
        sectors: 3,
    };
    assert_eq!(lost, Ok(expected));
    assert_eq!(get(&mut bench, 0, 4), [1, 1, 0, 0]);
    // What is lost is lost once.
    let again = bench.backend.power_cut(&cut(Survival::None));
    assert_eq!(again, Ok(Loss::default()));
}

#[test]
fn all_of_it_may_survive() {
    let mut bench = cache(8, MIB, 1);
    assert_eq!(put(&mut bench, 0, 4, 1), Ok(()));
    assert_eq!(put(&mut bench, 1, 1, 2), Ok(()));
    let lost = bench.backend.power_cut(&cut(Survival::All));
    assert_eq!(lost, Ok(Loss::default()));
    assert_eq!(
        bench.image.state().durable[..1024],
        [[1; 512], [2; 512]].concat()
    );
}

#[test]
fn a_failed_flush_keeps_the_data_for_the_next() {
    let mut bench = cache(16, MIB, 1);
    bench.image.state().bad = Some(Range {
        offset: 2 * 512,
        length: 512,
    });
    assert_eq!(put(&mut bench, 0, 4, 1), Ok(()));
    // Behind it, and in its way.
    assert_eq!(put(&mut bench, 1, 1, 2), Ok(()));
    assert_eq!(put(&mut bench, 8, 1, 3), Ok(()));
    for _ in 0..2 {
        assert_eq!(bench.perform(Operation::Flush, &[]), Err(Errno::EIO));
        assert_eq!(get(&mut bench, 0, 4), [1, 2, 1, 1]);
    }
    assert_eq!(bench.image.state().bytes[512..1024], [0; 512]);
    assert_eq!(bench.backend.resize(8192), Err(Errno::EIO));
    let lost = bench.backend.power_cut(&cut(Survival::All));
    assert_eq!(lost, Err(Errno::EIO));
    bench.image.state().bad = None;
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    let durable = bench.image.state().durable.clone();
    assert_eq!(durable[..1024], [[1; 512], [2; 512]].concat());
    assert_eq!(durable[8 * 512..9 * 512], [3; 512]);
}

#[test]
fn two_flushes_at_once_end_each_for_what_was_before_it() {
    let mut bench = cache(16, MIB, 1);
    bench.image.state().stuck = true;
    assert_eq!(put_without_medium(&mut bench, 0, 1), [0]);
    bench.submit(1, Operation::Flush, &[]);
    assert_eq!(put_without_medium(&mut bench, 4, 2), [2]);
    bench.image.state().bad = Some(Range {
        offset: 4 * 512,
        length: 512,
    });
    bench.submit(3, Operation::Flush, &[]);
    bench.submit(4, Operation::Flush, &[]);
    bench.image.state().stuck = false;
    let ended = bench.wait(3);
    assert_eq!(ended[&1], Ok(()));
    assert_eq!([ended[&3], ended[&4]], [Err(Errno::EIO); 2]);
}

/// Writes a sector while the medium does nothing, and returns what has ended.
fn put_without_medium<I>(bench: &mut Bench<I>, sector: u64, byte: u8) -> Vec<u64> {
    let token = u64::from(byte) * 2 - 2;
    bench.put(0, &[byte; 512]);
    bench.submit(token, write(sector * 512), &[(0, 512)]);
    let ended = bench.backend.poll();
    ended.into_iter().map(|end| end.token.0).collect()
}

#[test]
fn a_durable_write_takes_what_was_before_it_along() {
    let mut bench = cache(16, MIB, 1);
    assert_eq!(put(&mut bench, 0, 1, 1), Ok(()));
    let durable = Operation::Write {
        offset: 4 * 512,
        durability: Durability::Durable,
    };
    bench.put(0, &[2; 512]);
    assert_eq!(bench.perform(durable, &[(0, 512)]), Ok(()));
    let lost = bench.backend.power_cut(&cut(Survival::None));
    assert_eq!(lost, Ok(Loss::default()));
    assert_eq!(get(&mut bench, 0, 5), [1, 0, 0, 0, 2]);
}

#[test]
fn zeroes_lie_over_what_was_written_and_a_discard_over_nothing() {
    let mut bench = cache(16, MIB, 1);
    assert_eq!(put(&mut bench, 0, 8, 1), Ok(()));
    let range = |sector: u64| Range {
        offset: sector * 512,
        length: 1024,
    };
    let zeroes = Operation::WriteZeroes {
        ranges: vec![range(1), range(4)],
        zeroing: Zeroing::KeepSpace,
        durability: Durability::Cached,
    };
    assert_eq!(bench.perform(zeroes, &[]), Ok(()));
    assert_eq!(get(&mut bench, 0, 8), [1, 0, 0, 1, 0, 0, 1, 1]);
    let discard = Operation::Discard {
        ranges: vec![range(6)],
    };
    assert_eq!(bench.perform(discard, &[]), Ok(()));
    assert_eq!(get(&mut bench, 0, 8), [1, 0, 0, 1, 0, 0, 1, 1]);
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    assert_eq!(get(&mut bench, 0, 8), [1, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_full_cache_writes_back_its_oldest_data() {
    // Three writes of a sector.
    let mut bench = cache(16, 3 * 1280, 1);
    for sector in 0..5u8 {
        assert_eq!(put(&mut bench, u64::from(sector), 1, sector + 1), Ok(()));
    }
    assert_eq!(get(&mut bench, 0, 6), [1, 2, 3, 4, 5, 0]);
    let lost = bench.backend.power_cut(&cut(Survival::None));
    let expected = Loss {
        writes: 3,
        sectors: 3,
    };
    assert_eq!(lost, Ok(expected));
    assert_eq!(get(&mut bench, 0, 6), [1, 2, 0, 0, 0, 0]);
}

#[test]
fn without_room_a_write_waits_and_what_comes_behind_it_too() {
    let mut bench = cache(16, 2 * 1280, 1);
    bench.image.state().stuck = true;
    for request in 0..4 {
        bench.submit(request, write(request * 512), &[(0, 512)]);
    }
    bench.submit(4, Operation::Flush, &[]);
    bench.submit(5, read(0), &[(MIB, 512)]);
    bench.backend.flush_submissions();
    let ended = bench.backend.completed();
    let ended: Vec<_> = ended.into_iter().map(|end| end.token.0).collect();
    assert_eq!(ended, [0, 1, 5]);
    bench.image.state().stuck = false;
    assert!(bench.wait(3).values().all(Result::is_ok));
    assert_eq!(bench.image.state().flushes, 1);
}

/// What the medium has found for it may be older than what was written back since.
#[test]
fn a_read_never_finds_what_was_before_a_write_that_it_came_after() {
    for seed in 0..50 {
        let mut bench = cache(16, 2 * 1280, seed);
        assert_eq!(put(&mut bench, 0, 1, 1), Ok(()));
        bench.image.state().hold_reads = true;
        bench.submit(0, read(0), &[(MIB, 1024)]);
        let turns = |bench: &mut Bench<_>| {
            bench.backend.flush_submissions();
            let ended = (0..30).flat_map(|_| bench.backend.completed());
            ended.map(|end| end.token.0).collect::<Vec<_>>()
        };
        assert!(turns(&mut bench).is_empty());
        bench.put(0, &[2; 512]);
        for request in 1..4 {
            bench.submit(request, write(request * 1024), &[(0, 512)]);
        }
        // There is no room for more while the read may need the first write.
        assert_eq!(turns(&mut bench), [1]);
        assert_eq!(bench.image.state().bytes[..512], [1; 512]);
        bench.image.state().hold_reads = false;
        assert!(bench.wait(3).values().all(Result::is_ok));
        assert_eq!(bench.get(MIB, 1024), [[1; 512], [0; 512]].concat());
    }
}

#[test]
fn where_the_medium_refuses_to_make_room_the_write_that_needs_it_fails() {
    let mut bench = cache(16, 2 * 1280, 1);
    let bad = Range {
        offset: 0,
        length: 512,
    };
    bench.image.state().bad = Some(bad);
    assert_eq!(put(&mut bench, 0, 1, 1), Ok(()));
    assert_eq!(put(&mut bench, 1, 1, 2), Ok(()));
    // What is not in the way of anybody makes room.
    assert_eq!(put(&mut bench, 2, 1, 3), Ok(()));
    assert_eq!(get(&mut bench, 0, 3), [1, 2, 3]);
    bench.image.state().bad = Some(Range {
        length: 2048,
        ..bad
    });
    assert_eq!(put(&mut bench, 4, 1, 4), Err(Errno::EIO));
    assert_eq!(get(&mut bench, 0, 5), [1, 2, 3, 0, 0]);
    bench.image.state().bad = None;
    assert_eq!(put(&mut bench, 4, 1, 5), Ok(()));
    assert_eq!(get(&mut bench, 0, 5), [1, 2, 3, 0, 5]);
}

#[test]
fn a_write_larger_than_the_cache_goes_to_the_medium_in_its_turn() {
    let mut bench = cache(64, 8 << 10, 1);
    assert_eq!(put(&mut bench, 0, 2, 1), Ok(()));
    bench.put(0, &[2; 32 * 512]);
    bench.put(MIB, &[3; 512]);
    bench.submit(0, write(512), &[(0, 32 * 512)]);
    bench.submit(1, write(1024), &[(MIB, 512)]);
    assert!(bench.wait(2).values().all(Result::is_ok));
    assert_eq!(get(&mut bench, 0, 4), [1, 2, 3, 2]);
    let lost = bench.backend.power_cut(&cut(Survival::None)).unwrap();
    assert_eq!(lost.writes, 1);
    assert_eq!(get(&mut bench, 0, 4), [1, 2, 2, 2]);
}

/// It is what the guest's reads would otherwise pin: what they may still need stays in the log, and
/// counts.
#[test]
fn memory_is_bounded_whatever_the_medium_does() {
    const CAPACITY: u64 = 64 << 10;
    let (medium, control) = super::medium::MemoryMedium::new(2048 * 512, 3);
    let mut cache = VolatileCache::new(Box::new(medium), CAPACITY).unwrap();
    let memory = std::sync::Arc::new(
        vm_memory::GuestMemoryMmap::from_ranges(&[(vm_memory::GuestAddress(0), 1 << 20)]).unwrap(),
    );
    for turn in 0..3000u64 {
        control.state().stuck = turn % 100 < 50;
        let ranges = vec![
            Range {
                offset: turn * 7919 % 2000 * 512,
                length: 512 * (turn % 40),
            };
            usize::try_from(turn % 33).unwrap()
        ];
        let offset = turn * 31 % 2000 * 512;
        let operation = match turn % 4 {
            0 => read(offset),
            1 => Operation::Discard { ranges },
            2 => Operation::WriteZeroes {
                ranges,
                zeroing: Zeroing::MayUnmap,
                durability: Durability::Cached,
            },
            _ => write(offset),
        };
        let length = match turn % 2 {
            0 if turn % 4 != 0 => 0,
            1 if turn % 4 == 1 => 0,
            _ => u32::try_from(turn % 48 * 512).unwrap(),
        };
        let segment = crate::block::model::segment::Segment {
            address: vm_memory::GuestAddress(0),
            length,
        };
        let request = crate::block::model::backend::HostRequest {
            operation,
            buffers: crate::block::model::io_buffers::IoBuffers::new(&memory, [segment]).unwrap(),
        };
        cache.submit(crate::block::model::request::Token(turn), request);
        cache.flush_submissions();
        cache.completed();
        assert!(cache.log.cost() <= CAPACITY);
    }
    control.state().stuck = false;
    cache.close();
    assert!(cache.log.is_empty() && cache.queue.is_empty() && cache.work.is_empty());
    assert_eq!(cache.write_back.staying(&cache.log), 0);
}

#[test]
fn an_orderly_end_and_another_size_lose_nothing() {
    let mut bench = cache(16, MIB, 1);
    assert_eq!(put(&mut bench, 15, 1, 1), Ok(()));
    assert_eq!(bench.backend.resize(32 * 512), Ok(()));
    assert_eq!(put(&mut bench, 31, 1, 2), Ok(()));
    assert_eq!(get(&mut bench, 15, 1), [1]);
    bench.backend.close();
    let state = bench.image.state();
    assert!(state.closed);
    assert_eq!(state.durable[15 * 512..16 * 512], [1; 512]);
    assert_eq!(state.durable[31 * 512..], [2; 512]);
}

#[test]
fn a_torn_sector_keeps_the_rest_of_what_was_there() {
    let mut torn = 0;
    for seed in 0..20 {
        let mut bench = cache(16, MIB, seed);
        assert_eq!(put(&mut bench, 0, 2, 1), Ok(()));
        assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
        assert_eq!(put(&mut bench, 0, 1, 2), Ok(()));
        let cut = PowerCut {
            survival: Survival::Random,
            seed,
            tear_bytes: 16,
        };
        let lost = bench.backend.power_cut(&cut).unwrap();
        assert_eq!((lost.writes, lost.sectors), (1, 1));
        let bytes = bench.image.state().durable.clone();
        let end = bytes.iter().position(|byte| *byte != 2).unwrap();
        assert!(end < 512 && end % 16 == 0);
        assert!(bytes[end..1024].iter().all(|byte| *byte == 1));
        torn += u32::from(end > 0);
    }
    assert!(torn > 15);
}

#[test]
fn places_that_no_file_has_are_refused_at_once() {
    let mut bench = cache(16, MIB, 1);
    for offset in [u64::MAX - 511, 1 << 63] {
        assert_eq!(bench.perform(write(offset), &[(0, 512)]), Err(Errno::EFBIG));
        assert_eq!(bench.perform(read(offset), &[(0, 512)]), Err(Errno::EFBIG));
    }
    assert_eq!(bench.perform(write(0), &[]), Ok(()));
    assert_eq!(bench.perform(read(0), &[]), Ok(()));
}
