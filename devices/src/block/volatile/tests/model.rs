//! A disk with a cache against what a disk may do: every sector has a history of versions.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::cache;
use super::medium::Control;
use crate::block::fault::rng::Chance;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{PowerCut, Survival};
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::Bench;

pub(super) const SECTORS: usize = 24;

const BYTES: usize = SECTORS * 512;

/// Guest memory of each request.
const SLOT: u64 = 16 << 10;

#[derive(Debug, Clone)]
pub(super) enum CacheStep {
    Write(usize, usize, bool),
    Read(usize, usize),
    Zeroes([(usize, usize); 2], bool),
    Discard(usize, usize),
    Flush,
    /// What the medium does for so many turns.
    Turn(u8),
    Cut(Survival, u32, u64),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<CacheStep>> {
    let part = || (0..SECTORS, 1..9usize).prop_map(|(at, n)| (at, n.min(SECTORS - at)));
    let survival = prop_oneof![
        Just(Survival::None),
        Just(Survival::All),
        Just(Survival::Prefix),
        Just(Survival::Random),
    ];
    let tear = prop_oneof![Just(512u32), Just(64), Just(8)];
    let step = prop_oneof![
        8 => (part(), prop::bool::weighted(0.1)).prop_map(|((at, n), durable)| CacheStep::Write(at, n, durable)),
        6 => part().prop_map(|(at, n)| CacheStep::Read(at, n)),
        1 => ([part(), part()], any::<bool>()).prop_map(|(ranges, durable)| CacheStep::Zeroes(ranges, durable)),
        1 => part().prop_map(|(at, n)| CacheStep::Discard(at, n)),
        2 => Just(CacheStep::Flush),
        5 => (1..4u8).prop_map(CacheStep::Turn),
        1 => (survival, tear, any::<u64>()).prop_map(|(kind, tear, seed)| CacheStep::Cut(kind, tear, seed)),
    ];
    vec(step, 1..80)
}

/// What a request makes of the disk, in its order.
#[derive(Debug, Clone)]
struct Change {
    ranges: Vec<(usize, usize)>,
    /// What each of its sectors is filled with.
    stamp: u64,
    is_discard: bool,
    /// It has ended, and well.
    done: bool,
}

impl Change {
    fn touches(&self, sector: usize) -> bool {
        let inside = |&(at, n): &(usize, usize)| (at..at + n).contains(&sector);
        self.ranges.iter().any(inside)
    }

    /// The first bytes of it.
    fn apply(&self, disk: &mut [u8], mut bytes: usize) {
        for (at, n) in &self.ranges {
            let count = bytes.min(n * 512);
            let fill = stamped(self.stamp, n * 512);
            disk[at * 512..][..count].copy_from_slice(&fill[..count]);
            bytes -= count;
        }
    }

    fn length(&self) -> usize {
        self.ranges.iter().map(|(_, n)| n * 512).sum()
    }
}

fn stamped(stamp: u64, length: usize) -> Vec<u8> {
    stamp.to_le_bytes().repeat(length / 8)
}

/// A request that was submitted.
enum Sent {
    /// The change of that number.
    Change(usize, Durability),
    /// Sectors, and for each of them the oldest change that it may be as.
    Read(usize, Vec<usize>),
    /// What was done before it.
    Flush(Vec<bool>),
}

pub(super) struct Model {
    pub bench: Bench<Control>,
    /// Before all changes.
    base: Vec<u8>,
    changes: Vec<Change>,
    /// All of these are durable.
    durable: Vec<usize>,
    sent: BTreeMap<u64, Sent>,
    next: u64,
    /// Whether the medium fails.
    pub fails: bool,
}

impl Model {
    fn new(capacity: u64, seed: u64, fails: u64) -> Self {
        let bench = cache(SECTORS, capacity, seed);
        bench.image.state().one_fails_of = fails;
        Self {
            bench,
            base: vec![0; BYTES],
            changes: Vec::new(),
            durable: Vec::new(),
            sent: BTreeMap::new(),
            next: 0,
            fails: fails > 0,
        }
    }

    /// What this one expects, of a new cache in front of a copy of the medium. Nothing is in flight.
    pub fn copy(&self, capacity: u64, seed: u64) -> Self {
        let copy = Self::new(capacity, seed, 0);
        {
            let (from, mut to) = (self.bench.image.state(), copy.bench.image.state());
            assert_eq!(from.in_flight(), 0);
            to.bytes.clone_from(&from.bytes);
            to.durable.clone_from(&from.durable);
            to.one_fails_of = from.one_fails_of;
        }
        Self {
            base: self.base.clone(),
            changes: self.changes.clone(),
            durable: self.durable.clone(),
            next: self.next,
            fails: self.fails,
            ..copy
        }
    }

    /// Reads the whole disk.
    pub fn read_all(&mut self) -> Vec<u8> {
        self.step(&CacheStep::Read(0, SECTORS));
        self.drain();
        self.bench.get((self.next - 1) % 200 * SLOT, BYTES)
    }

    fn send(&mut self, operation: Operation, length: usize, sent: Sent) {
        let token = self.next;
        self.next += 1;
        let length = u32::try_from(length).unwrap();
        let address = token % 200 * SLOT;
        // In two pieces.
        let pieces = [
            (address, length / 4),
            (address + u64::from(length / 4), length - length / 4),
        ];
        let pieces = if length == 0 { &[][..] } else { &pieces[..] };
        self.bench.submit(token, operation, pieces);
        self.sent.insert(token, sent);
    }

    fn change(&mut self, ranges: Vec<(usize, usize)>, stamp: u64, is_discard: bool) -> usize {
        self.changes.push(Change {
            ranges,
            stamp,
            is_discard,
            done: false,
        });
        self.changes.len() - 1
    }

    /// One more than the newest change of a sector that is done; zero for none.
    fn newest(&self, sector: usize, counts: impl Fn(usize) -> bool) -> usize {
        let changes = self.changes.iter().enumerate();
        let found = changes
            .rev()
            .find(|(i, change)| counts(*i) && change.touches(sector));
        found.map_or(0, |(i, _)| i + 1)
    }

    /// Whether a sector may be like this when it may be as any change from one on has it.
    fn may_be(&self, sector: usize, oldest: usize, content: &[u8]) -> bool {
        let mut from = oldest;
        // Until it is carried out, what is discarded is what it was.
        while from > 0 && self.changes[from - 1].is_discard {
            from = self.newest(sector, |i| i < from - 1 && self.changes[i].done);
        }
        let base = &self.base[sector * 512..][..512];
        let found = self.changes[from.saturating_sub(1)..]
            .iter()
            .filter(|change| change.touches(sector))
            .any(|change| content == stamped(change.stamp, 512));
        found || (from == 0 && content == base)
    }

    pub fn step(&mut self, step: &CacheStep) {
        match step {
            CacheStep::Write(at, n, durable) => {
                let stamp = self.next + 1;
                let address = self.next % 200 * SLOT;
                self.bench.put(address, &stamped(stamp, n * 512));
                let durability = durability(*durable);
                let operation = Operation::Write {
                    offset: *at as u64 * 512,
                    durability,
                };
                let change = self.change(vec![(*at, *n)], stamp, false);
                self.send(operation, n * 512, Sent::Change(change, durability));
            }
            CacheStep::Zeroes(parts, durable) => {
                let durability = durability(*durable);
                let operation = Operation::WriteZeroes {
                    ranges: parts.iter().map(range).collect(),
                    zeroing: Zeroing::MayUnmap,
                    durability,
                };
                let change = self.change(parts.to_vec(), 0, false);
                self.send(operation, 0, Sent::Change(change, durability));
            }
            CacheStep::Discard(at, n) => {
                let ranges = vec![range(&(*at, *n))];
                let change = self.change(vec![(*at, *n)], 0, true);
                let sent = Sent::Change(change, Durability::Cached);
                self.send(Operation::Discard { ranges }, 0, sent);
            }
            CacheStep::Read(at, n) => {
                let done = |i: usize| self.changes[i].done;
                let oldest = (*at..at + n)
                    .map(|sector| self.newest(sector, done))
                    .collect();
                let offset = *at as u64 * 512;
                self.send(Operation::Read { offset }, n * 512, Sent::Read(*at, oldest));
            }
            CacheStep::Flush => {
                let done = self.changes.iter().map(|change| change.done).collect();
                self.send(Operation::Flush, 0, Sent::Flush(done));
            }
            CacheStep::Turn(turns) => {
                self.bench.backend.flush_submissions();
                for turn in 0..*turns {
                    let ended = match turn % 2 {
                        0 => self.bench.backend.completed(),
                        _ => self.bench.backend.poll(),
                    };
                    for end in ended {
                        self.ended(end.token.0, end.result);
                    }
                }
            }
            CacheStep::Cut(survival, tear_bytes, seed) => {
                self.drain();
                self.cut(&PowerCut {
                    survival: *survival,
                    seed: *seed,
                    // What is torn inside is no version, and only looked for where all is known.
                    tear_bytes: if self.fails { 512 } else { *tear_bytes },
                });
            }
        }
    }

    /// Until everything has ended.
    pub fn drain(&mut self) {
        for (token, result) in self.bench.wait(self.sent.len()) {
            self.ended(token, result);
        }
        assert!(self.sent.is_empty());
    }

    fn ended(&mut self, token: u64, result: Result<(), Errno>) {
        let sent = self.sent.remove(&token).expect("ended twice");
        if result.is_err() {
            assert!(self.fails, "{result:?}");
            return;
        }
        match sent {
            Sent::Change(change, durability) => {
                self.changes[change].done = true;
                if durability == Durability::Durable {
                    self.durable.push(change);
                    self.check_durable();
                }
            }
            Sent::Read(at, oldest) => {
                let bytes = self.bench.get(token % 200 * SLOT, oldest.len() * 512);
                for (i, oldest) in oldest.into_iter().enumerate() {
                    let content = &bytes[i * 512..][..512];
                    let sector = at + i;
                    assert!(self.may_be(sector, oldest, content), "read of {sector}");
                }
            }
            Sent::Flush(done) => {
                let flushed = (0..).zip(done).filter(|(_, done)| *done).map(|(i, _)| i);
                self.durable.extend(flushed);
                self.check_durable();
            }
        }
    }

    /// What is durable, or something newer, is on the medium.
    fn check_durable(&self) {
        let on_medium = self.bench.image.state().durable.clone();
        for sector in 0..SECTORS {
            let oldest = self.newest(sector, |i| self.durable.contains(&i));
            let content = &on_medium[sector * 512..][..512];
            assert!(
                self.may_be(sector, oldest, content),
                "{sector} after a flush"
            );
        }
    }

    /// The disk as the first so many changes have it. None of them failed.
    fn after(&self, count: usize) -> Vec<u8> {
        let mut disk = self.base.clone();
        for change in &self.changes[..count] {
            change.apply(&mut disk, change.length());
        }
        disk
    }

    fn cut(&mut self, cut: &PowerCut) {
        // What the medium refuses is not what this is about.
        self.bench.image.state().one_fails_of = 0;
        let loss = self.bench.backend.power_cut(cut).unwrap();
        let found = self.bench.image.state().durable.clone();
        assert_eq!(found, self.bench.image.state().bytes);
        let oldest = self.durable.iter().max().map_or(0, |newest| newest + 1);
        let all = self.changes.len();
        match cut.survival {
            _ if self.fails => self.check_durable(),
            Survival::All => {
                assert!(found == self.after(all));
                assert_eq!((loss.writes, loss.sectors), (0, 0));
            }
            // Some have been written back for want of room.
            Survival::None => {
                let first = (oldest..=all).find(|count| found == self.after(*count));
                let lost = &self.changes[first.expect("not as any prefix has it")..];
                let lost = lost.iter().filter(|change| !change.is_discard).count();
                assert!(loss.writes <= lost as u64);
            }
            Survival::Prefix => assert!(self.is_torn_prefix(&found, oldest, cut.tear_bytes)),
            Survival::Random => {
                let torn = (0..SECTORS).filter(|sector| {
                    let oldest = self.newest(*sector, |i| self.durable.contains(&i));
                    !self.may_be(*sector, oldest, &found[sector * 512..][..512])
                });
                assert!(torn.count() <= usize::from(cut.tear_bytes < 512));
            }
        }
        self.base = found;
        self.changes.clear();
        self.durable.clear();
        self.bench.image.state().one_fails_of = if self.fails { 6 } else { 0 };
    }

    fn is_torn_prefix(&self, found: &[u8], oldest: usize, unit: u32) -> bool {
        (oldest..=self.changes.len()).any(|count| {
            let disk = self.after(count);
            let next = self.changes.get(count);
            let length = next.map_or(0, Change::length);
            found == disk
                || (0..length).step_by(unit as usize).any(|bytes| {
                    let mut torn = disk.clone();
                    next.unwrap().apply(&mut torn, bytes);
                    found == torn
                })
        })
    }
}

fn durability(durable: bool) -> Durability {
    match durable {
        true => Durability::Durable,
        false => Durability::Cached,
    }
}

fn range((at, n): &(usize, usize)) -> Range {
    Range {
        offset: *at as u64 * 512,
        length: *n as u64 * 512,
    }
}

pub(super) fn capacity() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0u64),
        Just(3000),
        Just(6000),
        4000..40_000u64,
        Just(1 << 20)
    ]
}

pub(super) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Runs the steps, and ends with what is left in order.
pub(super) fn run(steps: &[CacheStep], capacity: u64, seed: u64, fails: u64) -> Model {
    let mut model = Model::new(capacity, seed, fails);
    for step in steps {
        // No more in flight than there is memory for.
        if model.sent.len() == 200 {
            model.drain();
        }
        model.step(step);
    }
    model.drain();
    model
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn the_cache_conforms_to_the_model_of_a_disk(steps in steps(), capacity in capacity(), seed in any::<u64>()) {
        let mut model = run(&steps, capacity, seed, 0);
        model.bench.backend.close();
        prop_assert!(model.bench.image.state().closed);
        prop_assert!(model.bench.image.state().durable == model.after(model.changes.len()));
    }

    #[test]
    fn the_cache_conforms_to_the_model_on_a_failing_medium(steps in steps(), capacity in capacity(), seed in any::<u64>()) {
        let mut model = run(&steps, capacity, seed, 6);
        model.bench.image.state().one_fails_of = 0;
        // What has failed already is what no flush is to blame for.
        while model.bench.image.state().in_flight() > 0 {
            model.step(&CacheStep::Turn(1));
        }
        model.fails = false;
        model.step(&CacheStep::Flush);
        model.drain();
        let seen = model.read_all();
        prop_assert!(model.bench.image.state().durable == seen);
    }

    /// However the medium takes its time, and in whatever order it does what it is asked for.
    #[test]
    fn a_seed_means_the_same_on_every_machine(
        steps in steps(),
        capacity in capacity(),
        media in [any::<u64>(), any::<u64>()],
        turns in vec(0..5u8, 80),
        seed in any::<u64>(),
        kind in 0..4usize,
    ) {
        let kinds = [Survival::None, Survival::All, Survival::Prefix, Survival::Random];
        let cut = PowerCut { survival: kinds[kind], seed, tear_bytes: 64 };
        let [one, other] = media.map(|medium| {
            let mut chance = Chance::new(medium, [1, 1]);
            let mut model = Model::new(capacity, medium, 0);
            for (step, turns) in steps.iter().zip(&turns) {
                if let CacheStep::Turn(_) | CacheStep::Cut(..) = step {
                    continue;
                }
                model.step(step);
                let turns = *turns * u8::from(chance.coin());
                model.step(&CacheStep::Turn(turns));
            }
            model.drain();
            let loss = model.bench.backend.power_cut(&cut).unwrap();
            let bytes = model.bench.image.state().durable.clone();
            (loss, bytes)
        });
        prop_assert_eq!(one.0, other.0);
        prop_assert!(one.1 == other.1);
    }
}
