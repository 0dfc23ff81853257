//! Requests that are performed otherwise than they were meant, on a disk that keeps what is written.

use proptest::prelude::*;
use vm_memory::{Bytes, GuestMemoryBackend};

use super::disk::MemoryDisk;
use super::*;
use crate::block::fault::action::Alteration;
use crate::block::fault::alterations::Alterations;
use crate::block::fault::draw::{Change, SectorRun};
use crate::block::model::backend::Backend;
use crate::block::model::backend::HostRequest;
use crate::block::model::request::{Completion, Token};

/// Bytes of a request: eight sectors, in pieces of memory that no sector begins with.
const LENGTH: usize = 4096;
const PIECES: [usize; 3] = [1000, 3000, 96];

/// On the disk, each request has its place, and behind it one that it may be misdirected to.
const PLACE: usize = 2 * LENGTH;

/// The sector that the request with this number is about, and the one behind it.
fn place(number: usize) -> u64 {
    (number * PLACE) as u64 / SECTOR_SIZE
}

fn misplace(number: usize) -> u64 {
    place(number) + 8
}

/// A disk, and the memory of its guest.
struct Guest {
    disk: MemoryDisk,
    memory: Arc<GuestMemoryMmap>,
    alterations: Alterations,
    ends: Vec<Completion>,
}

impl Guest {
    /// With memory for so many requests.
    fn new(requests: usize) -> Self {
        let noise = |factor: usize, length: usize| -> Vec<u8> {
            let byte = |index: usize| (index * factor + index / 251).to_le_bytes()[0];
            (0..length).map(byte).collect()
        };
        let length = requests * LENGTH;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), length)]).unwrap();
        memory
            .write_slice(&noise(7, length), GuestAddress(0))
            .unwrap();
        Self {
            disk: MemoryDisk::new(noise(3, requests * PLACE)),
            memory: Arc::new(memory),
            alterations: Alterations::default(),
            ends: Vec::new(),
        }
    }

    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.memory.last_addr().0 + 1).unwrap()];
        self.memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
        bytes
    }

    /// The request with this number, which has its own memory and its own place on the disk.
    fn request(&self, number: usize, is_read: bool) -> HostRequest {
        let mut address = (number * LENGTH) as u64;
        let segments = PIECES.map(|length| {
            let segment = Segment {
                address: GuestAddress(address),
                length: u32::try_from(length).unwrap(),
            };
            address += length as u64;
            segment
        });
        let offset = place(number) * SECTOR_SIZE;
        let durability = Durability::Durable;
        let operation = if is_read {
            Operation::Read { offset }
        } else {
            Operation::Write { offset, durability }
        };
        let buffers = IoBuffers::new(&self.memory, segments).unwrap();
        HostRequest { operation, buffers }
    }

    fn submit(&mut self, number: usize, request: &HostRequest, how: Option<Alteration>) {
        let token = Token(number as u64);
        match how {
            None => self.disk.submit(token, request.clone()),
            Some(alteration) => {
                let Self {
                    disk, alterations, ..
                } = self;
                let end = alterations.submit(disk, token, request.clone(), alteration);
                self.ends.extend(end);
            }
        }
    }

    /// Lets what is pending at this place in the queue end.
    fn end(&mut self, index: usize, result: Result<(), Errno>) {
        self.disk.end(index, result);
        let completions = self.disk.completed();
        self.ends.extend(self.alterations.translate(completions));
    }

    /// What the only request comes to when all that is done for it ends well.
    fn result(&mut self, request: &HostRequest, alteration: Alteration) -> Result<(), Errno> {
        self.submit(0, request, Some(alteration));
        while !self.disk.pending.is_empty() {
            assert_eq!(self.ends, []);
            self.end(0, Ok(()));
        }
        assert!(self.alterations.is_empty());
        let [end] = self.ends[..] else {
            panic!("{:?}", self.ends);
        };
        self.ends.clear();
        assert_eq!(end.token, Token(0));
        end.result
    }
}

fn torn(keep: &[(u64, u64)], errno: Option<Errno>) -> Alteration {
    let run = |&(first, count): &(u64, u64)| SectorRun { first, count };
    Alteration::Torn(keep.iter().map(run).collect(), errno)
}

#[test]
fn a_request_that_fails_afterwards_is_performed() {
    let mut guest = Guest::new(1);
    let (write, memory) = (guest.request(0, false), guest.memory());
    let result = guest.result(&write, Alteration::FailAfter(Errno::ENOSPC));
    assert_eq!(result, Err(Errno::ENOSPC));
    assert!(guest.disk.bytes[..LENGTH] == memory);
    let flush = HostRequest::without_data(Operation::Flush);
    let result = guest.result(&flush, Alteration::FailAfter(Errno::EIO));
    assert_eq!(result, Err(Errno::EIO));
}

#[test]
fn a_real_error_goes_before_an_injected_one_and_the_first_before_the_next() {
    let enospc = Err(Errno::ENOSPC);
    let mut guest = Guest::new(1);
    let write = guest.request(0, false);
    guest.submit(0, &write, Some(Alteration::FailAfter(Errno::EIO)));
    guest.end(0, enospc);
    let runs = [(0, 1), (2, 1), (4, 1)];
    guest.submit(1, &write, Some(torn(&runs, Some(Errno::EIO))));
    guest.end(1, enospc);
    guest.end(1, Err(Errno::EFBIG));
    assert_eq!(guest.ends.len(), 1);
    guest.end(0, Ok(()));
    let results: Vec<_> = guest.ends.iter().map(|end| end.result).collect();
    assert_eq!(results, [enospc, enospc]);
    assert!(guest.alterations.is_empty());
}

#[test]
fn a_part_of_a_torn_write_is_as_durable_as_the_whole() {
    let mut guest = Guest::new(1);
    let write = guest.request(0, false);
    guest.submit(0, &write, Some(torn(&[(1, 1), (4, 2)], None)));
    let parts: Vec<_> = guest
        .disk
        .pending
        .iter()
        .map(|(_, part)| part.operation.clone())
        .collect();
    let durability = Durability::Durable;
    let expected = [512, 2048].map(|offset| Operation::Write { offset, durability });
    assert_eq!(parts, expected);
}

#[test]
fn a_write_of_which_nothing_is_kept_ends_at_once() {
    let mut guest = Guest::new(1);
    let (write, before) = (guest.request(0, false), guest.disk.bytes.clone());
    assert_eq!(guest.result(&write, torn(&[], None)), Ok(()));
    let result = guest.result(&write, torn(&[(8, 1)], Some(Errno::EIO)));
    assert_eq!(result, Err(Errno::EIO));
    assert!(guest.disk.bytes == before);
}

#[test]
fn nothing_is_performed_past_the_end_of_the_disk() {
    let mut guest = Guest::new(1);
    let (disk, memory) = (guest.disk.bytes.clone(), guest.memory());
    for sector in [
        9,
        16,
        u64::MAX / SECTOR_SIZE,
        u64::MAX / SECTOR_SIZE + 1,
        u64::MAX,
    ] {
        for is_read in [true, false] {
            let request = guest.request(0, is_read);
            let result = guest.result(&request, Alteration::Misdirect(sector));
            assert_eq!(result, Err(Errno::EIO), "{sector}");
        }
    }
    assert!(guest.disk.bytes == disk && guest.memory() == memory);
    let write = guest.request(0, false);
    assert_eq!(guest.result(&write, Alteration::Misdirect(8)), Ok(()));
    assert!(guest.disk.bytes[LENGTH..] == memory && guest.disk.bytes[..LENGTH] == disk[..LENGTH]);
}

#[test]
fn a_read_that_failed_is_not_corrupted() {
    let mut guest = Guest::new(1);
    let (read, before) = (guest.request(0, true), guest.memory());
    let change = Change::Flip(vec![0]);
    guest.submit(0, &read, Some(Alteration::Corrupt(change)));
    guest.end(0, Err(Errno::EIO));
    assert_eq!(guest.ends[0].result, Err(Errno::EIO));
    assert!(guest.memory() == before && guest.alterations.is_empty());
}

/// What a log may say that no rule decides: it ends, and touches nothing but the request's data.
#[test]
fn no_numbers_reach_past_a_request() {
    let (far, bits) = (u64::MAX, u64::MAX - 7);
    let flip = |bits: &[u64]| Alteration::Corrupt(Change::Flip(bits.to_vec()));
    let overwrite = |offset, length, pattern: &[u8]| {
        let pattern = pattern.to_vec();
        Alteration::Corrupt(Change::Overwrite {
            offset,
            length,
            pattern,
        })
    };
    let alterations = [
        torn(&[(far, far), (0, far), (0, far)], None),
        torn(
            &[(far / SECTOR_SIZE, 1), (7, far / SECTOR_SIZE), (3, 1)],
            None,
        ),
        torn(&[(0, 0), (0, 8), (0, 8), (7, 2)], None),
        flip(&[far, bits, 32_768, 0, 0, 32_767, 5]),
        overwrite(far, far, &[1]),
        overwrite(0, far, &[1, 2, 3]),
        overwrite(4095, 2, &[]),
    ];
    for alteration in alterations {
        for is_read in [true, false] {
            let mut guest = Guest::new(3);
            let (disk, memory) = (guest.disk.bytes.clone(), guest.memory());
            let request = guest.request(1, is_read);
            assert_eq!(guest.result(&request, alteration.clone()), Ok(()));
            let outside = |bytes: &[u8], own: std::ops::Range<usize>| {
                [&bytes[..own.start], &bytes[own.end..]].concat()
            };
            let place = PLACE..PLACE + LENGTH;
            assert!(outside(&guest.disk.bytes, place.clone()) == outside(&disk, place));
            let own = LENGTH..2 * LENGTH;
            assert!(outside(&guest.memory(), own.clone()) == outside(&memory, own));
        }
    }
    // However often a log names a sector, it is written once.
    let mut guest = Guest::new(1);
    let write = guest.request(0, false);
    guest.submit(0, &write, Some(torn(&[(0, far); 1000], None)));
    assert_eq!(guest.disk.pending.len(), 1);
}

/// Data as it is after a change, byte by byte.
fn changed(mut data: Vec<u8>, change: &Change) -> Vec<u8> {
    match change {
        Change::Flip(bits) => {
            for &bit in bits {
                data[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            }
        }
        Change::Overwrite {
            offset,
            length,
            pattern,
        } => {
            for (at, byte) in (*offset..offset + length).zip(pattern.iter().cycle()) {
                if let Some(target) = data.get_mut(usize::try_from(at).unwrap()) {
                    *target = *byte;
                }
            }
        }
    }
    data
}

/// One request, and how the disk answers.
#[derive(Debug, Clone)]
struct Submitted {
    is_read: bool,
    alteration: Option<Alteration>,
    /// Whether each of its parts fails.
    errors: Vec<bool>,
}

fn change() -> impl Strategy<Value = Change> {
    let flip = prop::collection::btree_set(0..LENGTH as u64 * 8, 0..40);
    let overwrite = (
        0_u64..5000,
        0_u64..5000,
        prop::collection::vec(any::<u8>(), 1..9),
    );
    prop_oneof![
        flip.prop_map(|bits| Change::Flip(bits.into_iter().collect())),
        overwrite.prop_map(|(offset, length, pattern)| Change::Overwrite {
            offset,
            length,
            pattern
        }),
    ]
}

fn submitted() -> impl Strategy<Value = Submitted> {
    let errno = || prop::option::of(Just(Errno::ENOSPC));
    // Every second sector at most, or all of them in one run.
    let runs = prop::sample::select(vec![
        vec![],
        vec![(0, 3)],
        vec![(5, 3)],
        vec![(0, 1), (2, 3), (6, 2)],
        vec![(1, 1), (3, 1), (5, 1), (7, 1)],
        vec![(0, 8)],
    ]);
    let alteration = prop_oneof![
        Just(Alteration::FailAfter(Errno::ENOSPC)),
        change().prop_map(Alteration::Corrupt),
        (runs, errno()).prop_map(|(runs, errno)| torn(&runs, errno)),
        Just(Alteration::Misdirect(0)),
    ];
    (
        any::<bool>(),
        prop::option::weighted(0.8, alteration),
        prop::collection::vec(prop::bool::weighted(0.15), 8),
    )
        .prop_map(|(is_read, alteration, errors)| Submitted {
            is_read: is_read && !matches!(alteration, Some(Alteration::Torn(..))),
            alteration,
            errors,
        })
}

/// What a request should have done, and what it should have come to.
fn expect(number: usize, of: &Submitted, disk: &mut [u8], memory: &mut [u8]) -> Result<(), Errno> {
    let own = number * LENGTH..(number + 1) * LENGTH;
    let at = match of.alteration {
        Some(Alteration::Misdirect(_)) => number * PLACE + LENGTH,
        _ => number * PLACE,
    };
    let there = at..at + LENGTH;
    if let Some(Alteration::Torn(runs, errno)) = &of.alteration {
        for (run, _) in runs.iter().zip(&of.errors).filter(|(_, fails)| !**fails) {
            let first = usize::try_from(run.first * SECTOR_SIZE).unwrap();
            let length = usize::try_from(run.count * SECTOR_SIZE).unwrap();
            let data = &memory[own.clone()][first..][..length];
            disk[there.clone()][first..][..length].copy_from_slice(data);
        }
        if of.errors.iter().take(runs.len()).any(|fails| *fails) {
            return Err(Errno::EIO);
        }
        return errno.map_or(Ok(()), Err);
    }
    if of.errors[0] {
        return Err(Errno::EIO);
    }
    let (from, to) = if of.is_read {
        (&disk[there], &mut memory[own])
    } else {
        (&memory[own], &mut disk[there])
    };
    let data = match &of.alteration {
        Some(Alteration::Corrupt(change)) => changed(from.to_vec(), change),
        _ => from.to_vec(),
    };
    to.copy_from_slice(&data);
    match of.alteration {
        Some(Alteration::FailAfter(errno)) => Err(errno),
        _ => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn altered_requests_and_others_do_not_wait_for_each_other(
        requests in prop::collection::vec(submitted(), 1..24),
        order in prop::collection::vec(any::<prop::sample::Index>(), 24 * 8),
        together in 1_usize..8,
    ) {
        let mut guest = Guest::new(requests.len());
        let (mut disk, mut memory) = (guest.disk.bytes.clone(), guest.memory());
        // What the disk answers to what it has been given, by where the data goes.
        let mut answers = std::collections::HashMap::new();
        let (mut waiting, mut order) = (requests.iter().enumerate(), order.iter());
        loop {
            let mut is_over = true;
            for (number, of) in waiting.by_ref().take(together) {
                is_over = false;
                let request = guest.request(number, of.is_read);
                let alteration = match of.alteration.clone() {
                    Some(Alteration::Misdirect(_)) => Some(Alteration::Misdirect(misplace(number))),
                    other => other,
                };
                let before = guest.disk.pending.len();
                guest.submit(number, &request, alteration);
                for ((token, _), fails) in guest.disk.pending[before..].iter().zip(&of.errors) {
                    answers.insert(*token, if *fails { Err(Errno::EIO) } else { Ok(()) });
                }
            }
            if is_over && guest.disk.pending.is_empty() {
                break;
            }
            for _ in 0..together {
                if let (Some(index), 1..) = (order.next(), guest.disk.pending.len()) {
                    let index = index.index(guest.disk.pending.len());
                    let answer = answers[&guest.disk.pending[index].0];
                    guest.end(index, answer);
                }
            }
        }
        prop_assert!(guest.alterations.is_empty());
        guest.ends.sort_by_key(|end| end.token);
        let expected: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(number, of)| Completion {
                token: Token(number as u64),
                result: expect(number, of, &mut disk, &mut memory),
            })
            .collect();
        prop_assert_eq!(&guest.ends, &expected);
        prop_assert!(guest.disk.bytes == disk);
        prop_assert!(guest.memory() == memory);
    }
}
