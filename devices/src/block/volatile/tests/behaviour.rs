//! One thing after the other.

use super::cache;
use crate::block::tests::bench::{Bench, read, write};
use crate::block::{
    Durability, Errno, Loss, Operation, PowerCut, Range, Survival, VolatileCache, Zeroing,
};

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
