//! The actions of a malicious or broken driver, derived from bytes, each of which decides something.

use super::driver::{
    CHAINS, DATA_ROOM, QUEUES, data_of, header_of, indirect_table_of, status_of, table_of,
};
use super::medium::Behaviour;
use super::memory;
use crate::block::model::errno::Errno;
use crate::block::throttle::limits::Measure;
use crate::virtio::transport::mmio::WINDOW;

/// One action.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Any register, any value.
    Register(u64, u32),
    /// An access of any width at any offset.
    Access(u64, Vec<u8>),
    /// The write cache, in the configuration space.
    WriteCache(u8),
    Kick(u32),
    /// A request, possibly valid.
    Ask(Ask),
    /// A nearly valid descriptor: its table, its index.
    Describe(u64, u16, Descriptor),
    /// An available entry: a plausible head, and any index.
    Offer(u16, u16),
    Index(u16, u16),
    /// Any bytes anywhere in the rings.
    Scribble(u64, Vec<u8>),
    Initialize,
    Reset,
    /// A reset by the machine.
    SystemReset,
    Pause,
    Resume,
    Resize(u64),
    /// Limits this measure to almost nothing, or removes the limits.
    Limit(Option<Measure>),
    /// Sets the write threshold.
    Mark(u64),
    /// Changes the medium's behaviour.
    Behave(Behaviour),
    Release,
}

/// Address, length, flags, next.
pub type Descriptor = (u64, u32, u16, u16);

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub queue: u16,
    /// Its slot.
    pub place: u16,
    pub kind: u32,
    pub sector: u64,
    /// Address and length of each part of its data.
    pub data: Vec<(u64, u32)>,
    /// First sector, sectors, flags: the slot's list, if its data refers to it.
    pub ranges: Vec<(u64, u32, u32)>,
    /// Whether its chain is in an indirect table.
    pub indirect: bool,
    pub kick: bool,
}

/// The input bytes, followed by zeroes.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Splits off this many bytes; also returns the rest.
    pub fn split(&self, length: usize) -> (Self, &'a [u8]) {
        let (first, rest) = self.0.split_at(length.min(self.0.len()));
        (Self(first), rest)
    }

    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    pub(super) fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    fn long(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    pub(super) fn quad(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// A number from 0 to `below`, exclusive.
    pub fn below(&mut self, below: u8) -> u8 {
        self.byte() % below
    }

    fn bytes(&mut self, most: u8) -> Vec<u8> {
        (0..=self.below(most)).map(|_| self.byte()).collect()
    }

    fn queue(&mut self) -> u16 {
        u16::from(self.byte()) % QUEUES
    }

    fn place(&mut self) -> u16 {
        u16::from(self.byte()) % CHAINS
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// A plausible address.
    fn address(&mut self) -> u64 {
        let (kind, queue, place) = (self.below(16), self.queue(), self.place());
        match kind {
            0..=2 => header_of(queue, place),
            3..=7 => data_of(queue, place),
            8 | 9 => status_of(queue, place),
            10 => indirect_table_of(queue, place),
            11 => table_of(queue) + 2 * u64::from(self.word() % 0x800),
            12 => memory::SEAM - u64::from(self.byte()),
            13 => memory::END - u64::from(self.byte()),
            14 => u64::MAX - u64::from(self.byte()),
            _ => self.quad(),
        }
    }

    fn length(&mut self) -> u32 {
        match self.below(8) {
            0 => 1,
            1 => 16 * u32::from(self.below(5)),
            2..=4 => 512 * u32::from(self.below(3)),
            5 => u32::from(self.byte()),
            6 => u32::from(self.word()),
            _ => self.long(),
        }
    }

    fn sector(&mut self) -> u64 {
        match self.below(8) {
            0..=5 => u64::from(self.below(70)),
            6 => u64::MAX - u64::from(self.byte()),
            _ => self.quad(),
        }
    }

    fn kind(&mut self) -> u32 {
        let known = [0, 0, 1, 1, 4, 8, 11, 11, 13, 13];
        let kind = usize::from(self.below(12));
        known.get(kind).copied().unwrap_or_else(|| self.long())
    }

    fn range(&mut self) -> (u64, u32, u32) {
        let sector = self.sector();
        let sectors = match self.below(8) {
            0..=6 => u32::from(self.below(34)),
            _ => self.long(),
        };
        let flags = match self.below(8) {
            0..=3 => 0,
            4..=6 => 1,
            _ => self.long(),
        };
        (sector, sectors, flags)
    }

    fn ask(&mut self) -> Ask {
        let (queue, place, shape) = (self.queue(), self.place(), self.byte());
        let (kind, sector) = (self.kind(), self.sector());
        let ranges: Vec<_> = match kind {
            11 | 13 => (0..self.below(4)).map(|_| self.range()).collect(),
            _ => Vec::new(),
        };
        let own = data_of(queue, place);
        let data = match shape >> 2 & 7 {
            // The usual data of such a request.
            0..=4 if matches!(kind, 11 | 13) => {
                vec![(own, 16 * u32::try_from(ranges.len()).unwrap_or(0))]
            }
            0..=2 => vec![(own, 512 * u32::from(self.below(3)))],
            3 => Vec::new(),
            4 => vec![
                (own, 300),
                (own + 300, 724 - u32::from(self.below(2)) * 512),
            ],
            parts => (4..parts)
                .map(|_| (self.address(), self.length()))
                .collect(),
        };
        let data = data.into_iter().filter(|(_, length)| *length > 0).collect();
        Ask {
            queue,
            place,
            kind,
            sector,
            data,
            ranges,
            indirect: shape & 1 != 0,
            kick: shape & 2 == 0,
        }
    }

    fn register(&mut self) -> Deed {
        let offset = 4 * u64::from(self.below(72));
        let value = match self.below(8) {
            0..=3 => u32::from(self.below(16)),
            4 => 1 << self.below(32),
            5 => u32::from(self.byte()) << 8,
            _ => self.long(),
        };
        Deed::Register(offset, value)
    }

    fn description(&mut self) -> Deed {
        let (queue, place, inner) = (self.queue(), self.place(), self.flag());
        let (table, index) = if inner {
            (indirect_table_of(queue, place), u16::from(self.below(8)))
        } else {
            (table_of(queue), u16::from(self.below(64)))
        };
        let flags = u16::from(self.below(8));
        let next = match self.below(8) {
            0 => self.word(),
            _ => u16::from(self.below(64)),
        };
        Deed::Describe(table, index, (self.address(), self.length(), flags, next))
    }

    /// The next deed.
    pub fn deed(&mut self) -> Deed {
        match self.below(75) {
            0..=23 => Deed::Ask(self.ask()),
            24..=27 => self.description(),
            28 | 29 => Deed::Offer(self.queue(), u16::from(self.below(64))),
            30 => Deed::Index(self.queue(), self.word()),
            31 | 32 => {
                let at = table_of(self.queue()) + u64::from(self.word() % 0xff0);
                Deed::Scribble(at, self.bytes(16))
            }
            33..=36 => Deed::Kick(match self.below(8) {
                0 => self.long(),
                _ => u32::from(self.queue()),
            }),
            37 | 38 => self.register(),
            39 => {
                let at = u64::from(self.word()) % WINDOW;
                Deed::Access(at, self.bytes(8))
            }
            40 | 41 => Deed::WriteCache(self.below(3)),
            42..=44 => Deed::Initialize,
            45 => Deed::Reset,
            46 => Deed::SystemReset,
            47 => Deed::Pause,
            48..=54 => Deed::Resume,
            55..=60 => Deed::Resize(match self.below(8) {
                0 => 0,
                1 => u64::from(self.word()),
                _ => 512 * u64::from(self.below(128)),
            }),
            61..=66 => Deed::Behave(match self.below(4) {
                0 => Behaviour::Work,
                1 => Behaviour::Withhold,
                2 => Behaviour::Fail(Errno::EIO),
                _ => Behaviour::Fail(Errno::ENOSPC),
            }),
            67..=69 => Deed::Release,
            70..=73 => Deed::Limit(Measure::ALL.get(usize::from(self.below(8))).copied()),
            _ => Deed::Mark(512 * u64::from(self.below(64))),
        }
    }
}

/// All slots are in guest memory.
const _: () = assert!(data_of(QUEUES - 1, CHAINS - 1) + DATA_ROOM <= memory::END);
