//! The offered features and the configuration space.

use super::super::{DiskConfiguration, Feature};
use super::driver::*;
use crate::block::model::access::Access;
use crate::block::model::request::{Durability, Operation};
use crate::virtio::transport::RingFeatures;

const RO: u64 = 1 << 5;
const CONFIG_WCE: u64 = 1 << 11;
const MQ: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

fn with(shape: impl FnOnce(&mut DiskConfiguration)) -> Setup {
    let mut setup = Setup::default();
    shape(&mut setup.disk);
    setup
}

impl Machine {
    fn offered(&self) -> u64 {
        let half = |index| {
            self.set_register(0x014, index);
            u64::from(self.register(0x010))
        };
        half(0) | half(1) << 32
    }

    fn word(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.space(offset))
    }

    /// Whether a write in slot 0 must be durable when it completes.
    fn is_durable(&mut self) -> bool {
        let (token, request) = self.submit(0, OUT, 0, 512);
        self.end(token, Ok(()));
        self.wait_used(1);
        match request.operation {
            Operation::Write { durability, .. } => durability == Durability::Durable,
            _ => panic!("{request:?}"),
        }
    }

    fn set_write_cache(&self, value: u8) {
        use crate::bus::BusDevice;
        self.transport.write(0x100 + 32, &[value]);
    }
}

#[test]
fn each_field_is_where_the_standard_has_it() {
    let setup = with(|disk| {
        disk.queues = 4;
        disk.queue_size = 64;
        disk.logical_block_size = 1024;
        disk.physical_block_size = 8192;
    });
    let machine = Setup {
        sectors: 65,
        ..setup
    }
    .stopped();
    // Rounded down to whole blocks.
    assert_eq!(u64::from_le_bytes(machine.space(0)), 64);
    assert_eq!(machine.word(8), 4 << 20);
    assert_eq!(machine.word(12), 62);
    assert_eq!(machine.word(20), 1024);
    assert_eq!(machine.space(24), [3]);
    assert_eq!(machine.space(32), [1]);
    assert_eq!(u16::from_le_bytes(machine.space(34)), 4);
    // The fake backend's limits: 1 MiB, aligned to 4 KiB.
    assert_eq!([36, 40, 44].map(|at| machine.word(at)), [2048, 32, 8]);
    assert_eq!([48, 52].map(|at| machine.word(at)), [64, 32]);
    assert_eq!(machine.space(56), [1]);
    assert_eq!(machine.space(60), [0; 8]);
    assert_eq!(machine.space::<4>(u64::MAX - 0x1ff), [0; 4]);
    for queue in 0..4 {
        machine.set_register(0x030, queue);
        assert_eq!(machine.register(0x034), 64);
    }
    machine.set_register(0x030, 4);
    assert_eq!(machine.register(0x034), 0);
}

#[test]
fn every_option_can_be_withheld() {
    let all = CONFIG_WCE | DISCARD | WRITE_ZEROES | FLUSH_FEATURE | INDIRECT_DESC | EVENT_IDX;
    let machine = Setup::default().stopped();
    assert_eq!(machine.offered() & (all | MQ | RO), all);
    for (feature, bit) in [
        (Feature::ConfigWce, CONFIG_WCE),
        (Feature::Discard, DISCARD),
        (Feature::WriteZeroes, WRITE_ZEROES),
        (Feature::Flush, FLUSH_FEATURE),
    ] {
        let machine = with(|disk| disk.withheld = vec![feature]).stopped();
        assert_eq!(machine.offered() & all, all & !bit);
    }
    let rings = RingFeatures::default();
    for (ring_features, bit) in [
        (rings.without_indirect_descriptors(), INDIRECT_DESC),
        (rings.without_event_index(), EVENT_IDX),
    ] {
        let setup = Setup {
            ring_features,
            ..Setup::default()
        };
        assert_eq!(setup.stopped().offered() & all, all & !bit);
    }
    assert_eq!(with(|disk| disk.queues = 2).stopped().offered() & MQ, MQ);
    let read_only = Setup {
        access: Access::ReadOnly,
        ..Setup::default()
    };
    let offered = read_only.stopped().offered();
    assert_eq!(offered & (RO | DISCARD | WRITE_ZEROES), RO);
}

#[test]
fn a_driver_switches_the_write_cache_off_and_on() {
    let mut setup = Setup::default();
    setup.features |= CONFIG_WCE;
    let mut machine = setup.start();
    assert!(!machine.is_durable() && machine.disk.caches_writes());
    machine.set_write_cache(0);
    assert_eq!(machine.space(32), [0]);
    assert!(machine.is_durable() && !machine.disk.caches_writes());
    machine.set_write_cache(7);
    assert_eq!(machine.space(32), [1]);
    assert!(!machine.is_durable());
    // A new driver finds the configured setting.
    machine.set_write_cache(0);
    machine.reset();
    machine.initialize();
    assert_eq!(machine.space(32), [1]);
    assert!(!machine.is_durable());
}

#[test]
fn a_disk_may_begin_without_a_write_cache() {
    let mut setup = with(|disk| disk.write_cache = false);
    // A driver without CONFIG_WCE has a cache that it can flush.
    let mut machine = setup.clone().start();
    assert_eq!(machine.space(32), [0]);
    assert!(!machine.is_durable());
    setup.features |= CONFIG_WCE;
    let mut machine = setup.start();
    assert!(machine.is_durable());
    machine.set_write_cache(1);
    assert!(!machine.is_durable());
    machine.reset();
    machine.initialize();
    assert!(machine.is_durable());
}

#[test]
fn only_the_switch_can_be_written_and_only_by_who_agreed_on_it() {
    use crate::bus::BusDevice;
    let machine = Setup::default().start();
    machine.set_write_cache(0);
    assert_eq!(machine.space(32), [1]);
    let mut setup = Setup::default();
    setup.features |= CONFIG_WCE;
    let machine = setup.start();
    let before: [u8; 60] = machine.space(0);
    for offset in (0..64).filter(|offset| *offset != 32) {
        machine.transport.write(0x100 + offset, &[0xff]);
        machine.transport.write(0x100 + offset, &[0xff; 8]);
    }
    machine.transport.write(0x100 + 32, &[0; 2]);
    machine.transport.write(u64::MAX, &[0]);
    assert_eq!(machine.space(0), before);
}
