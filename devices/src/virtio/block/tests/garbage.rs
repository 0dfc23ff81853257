//! Whatever a driver writes, the device neither panics nor hangs, and a reset mends it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::*;
use super::strategies::{config, end};
use crate::bus::BusDevice;

/// What a driver that means harm, or a broken one, may do.
#[derive(Debug, Clone)]
enum Deed {
    /// Any register, any value.
    Register(u64, u32),
    /// An access of any width at any offset.
    Access(u64, Vec<u8>),
    Kick,
    /// A request in the usual framing that may even be good.
    Ask(u16, u32, u64, u32),
    /// A descriptor that is nearly right.
    Describe(u64, u16, (u64, u32, u16, u16)),
    /// A header that is nearly right.
    Header(u16, u32, u64),
    /// Available: a plausible head, and any index.
    Offer(u16),
    Index(u16),
    /// Anything anywhere in the rings.
    Scribble(u64, Vec<u8>),
    /// The machine's part.
    Pause,
    Resume,
    Initialize,
    Reset,
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0..8u16).prop_map(header_of),
        6 => (0..8u16).prop_map(data_of),
        3 => (0..8u16).prop_map(status_of),
        3 => Just(INDIRECT_TABLE),
        1 => 0..MEMORY,
        1 => (0..1024u64).prop_map(|back| MEMORY - back),
        1 => (0..1024u64).prop_map(|back| u64::MAX - back),
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => Just(16u32),
        4 => Just(1u32),
        4 => Just(512u32),
        2 => (0..5u32).prop_map(|count| 16 * count),
        1 => 0..2048u32,
        1 => any::<u32>(),
    ]
}

fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let next = prop_oneof![8 => 0..16u16, 1 => any::<u16>()];
    (address(), length(), 0..8u16, next)
}

/// A register that exists, and a value that might mean something in it.
fn register() -> impl Strategy<Value = Deed> {
    let offset = (0..0x48u64).prop_map(|index| 4 * index);
    let value = prop_oneof![
        3 => 0..16u32,
        1 => Just(256u32),
        1 => (0..256u32).prop_map(|page| page << 12),
        1 => any::<u32>(),
    ];
    (offset, value).prop_map(|(offset, value)| Deed::Register(offset, value))
}

fn deed() -> impl Strategy<Value = Deed> {
    let table = prop_oneof![3 => Just(TABLE), 1 => Just(INDIRECT_TABLE)];
    let kind = || prop_oneof![4 => 0..12u32, 1 => any::<u32>()];
    let sector = || prop_oneof![4 => 0..66u64, 1 => any::<u64>()];
    let bytes = |length| vec(any::<u8>(), 1..=length);
    prop_oneof![
        2 => register(),
        1 => (any::<u16>(), bytes(8)).prop_map(|(at, data)| Deed::Access(at.into(), data)),
        3 => Just(Deed::Kick),
        12 => (0..8u16, kind(), sector(), length())
            .prop_map(|(slot, kind, sector, length)| Deed::Ask(slot, kind, sector, length)),
        2 => (table, 0..16u16, descriptor())
            .prop_map(|(table, index, descriptor)| Deed::Describe(table, index, descriptor)),
        2 => (0..8u16, kind(), sector())
            .prop_map(|(slot, kind, sector)| Deed::Header(slot, kind, sector)),
        2 => prop_oneof![16 => 0..16u16, 1 => any::<u16>()].prop_map(Deed::Offer),
        1 => any::<u16>().prop_map(Deed::Index),
        1 => (TABLE..INDIRECT_TABLE + 0x1000, bytes(64))
            .prop_map(|(at, data)| Deed::Scribble(at, data)),
        1 => Just(Deed::Pause),
        2 => Just(Deed::Resume),
        4 => Just(Deed::Initialize),
        1 => Just(Deed::Reset),
    ]
}

impl Deed {
    fn commit(self, machine: &mut Machine) {
        match self {
            Self::Register(offset, value) => machine.set_register(offset, value),
            Self::Access(offset, mut data) => {
                machine.transport.write(offset, &data);
                machine.transport.read(offset, &mut data);
            }
            Self::Kick => machine.kick(),
            Self::Ask(slot, kind, sector, length) => machine.ask(slot, kind, sector, length),
            Self::Describe(table, index, descriptor) => {
                machine.describe(table, index, descriptor);
            }
            Self::Header(slot, kind, sector) => drop(machine.head(slot, kind, sector)),
            Self::Offer(head) => machine.offer(head),
            Self::Index(index) => machine.set_u16(AVAILABLE + 2, index),
            Self::Scribble(address, bytes) => machine.write(address, &bytes),
            Self::Pause => drop(machine.pause()),
            Self::Resume => machine.resume(),
            Self::Initialize => {
                machine.reset();
                machine.initialize();
            }
            Self::Reset => machine.reset(),
        }
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn nothing_that_a_driver_writes_breaks_the_device_for_good(
        deeds in vec(deed(), 1..60),
        end in end(),
        features in any::<u8>(),
    ) {
        let mut setup = Setup::policy("enospc", "stop");
        for (bit, feature) in [EVENT_IDX, INDIRECT_DESC, FLUSH_FEATURE].into_iter().enumerate() {
            setup.features &= !feature;
            if features & 1 << bit != 0 {
                setup.features |= feature;
            }
        }
        let mut machine = setup.start();
        machine.backend.end_at_once(end);
        for deed in deeds {
            deed.commit(&mut machine);
        }
        machine.kick();
        machine.backend.barrier();
        // From here on nothing fails and stops the machine again.
        machine.backend.end_at_once(Ok(()));
        machine.backend.barrier();
        machine.resume();
        machine.recover();
        machine.ask(1, IN, 0, 512);
        prop_assert_eq!(machine.wait_used(1), [(head_of(1), 513)]);
        prop_assert_eq!(machine.status(1), OK);
    }
}
