//! What a rule is: which requests, and what becomes of them.

use std::time::Duration;

use super::decision::{Change, Decision, Run};
use super::rng::Chance;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Survival, Then};
use crate::block::model::request::{Operation, Request, SECTOR_SIZE};

/// Longest delay that one rule, or one line of a log, asks for.
pub const MAX_DELAY: Duration = Duration::from_secs(3600);

/// Most bits that one rule inverts in one request.
pub const MAX_FLIPPED_BITS: u32 = 1 << 16;

/// Longest pattern, in bytes.
pub const MAX_PATTERN: usize = 4096;

/// Most coins that are tossed for the sectors of one request. In a request of more than 32 MiB, which
/// no usual driver sends, several sectors have one together: it would become a million writes.
const MAX_COINS: u64 = 1 << 16;

/// A set of kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// [`Operation::Read`].
    pub const READ: Self = Self(1);
    /// [`Operation::Write`].
    pub const WRITE: Self = Self(2);
    /// [`Operation::Flush`].
    pub const FLUSH: Self = Self(4);
    /// [`Operation::Discard`].
    pub const DISCARD: Self = Self(8);
    /// [`Operation::WriteZeroes`].
    pub const WRITE_ZEROES: Self = Self(16);
    /// Every request.
    pub const ALL: Self = Self(31);
    /// No request.
    pub const NONE: Self = Self(0);

    /// Each kind, in the order of their numbers.
    pub(super) const EACH: [Self; 5] = [
        Self::READ,
        Self::WRITE,
        Self::FLUSH,
        Self::DISCARD,
        Self::WRITE_ZEROES,
    ];

    /// The number of the first of them.
    pub(super) fn number(self) -> usize {
        self.0.trailing_zeros() as usize
    }

    /// The kind of an operation.
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Read { .. } => Self::READ,
            Operation::Write { .. } => Self::WRITE,
            Operation::Flush => Self::FLUSH,
            Operation::Discard { .. } => Self::DISCARD,
            Operation::WriteZeroes { .. } => Self::WRITE_ZEROES,
        }
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are among both.
    #[must_use]
    pub const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether all of those are among these.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// Which requests a rule is about. All of it has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// What the request asks for.
    pub kinds: Kinds,
    /// The first sector, and the number of sectors, of a part of the disk that it overlaps.
    pub sectors: Option<(u64, u64)>,
    /// The state of the disk's engine.
    pub state: Option<String>,
    /// Least length of the request, in bytes.
    pub min_bytes: u64,
    /// Greatest.
    pub max_bytes: u64,
    /// So many requests for which the above holds are let pass first.
    pub skip: u64,
    /// The rule fires so many times.
    pub count: u64,
    /// With what probability it fires.
    pub probability: f64,
}

impl Match {
    /// Every request of these kinds.
    pub fn all(kinds: Kinds) -> Self {
        Self {
            kinds,
            sectors: None,
            state: None,
            min_bytes: 0,
            max_bytes: u64::MAX,
            skip: 0,
            count: u64::MAX,
            probability: 1.0,
        }
    }
}

/// How long a delay is.
#[derive(Debug, Clone, PartialEq)]
pub enum Delay {
    /// Always so long, in microseconds.
    Fixed(u64),
    /// Between these two, in microseconds, each value as likely as the others.
    Uniform(u64, u64),
    /// Points of a distribution, in growing order; the last is the 100th percentile.
    Percentiles(Vec<Percentile>),
}

/// A point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// How many of a hundred have at most this delay.
    pub percentile: f64,
    /// The delay.
    pub microseconds: u64,
}

impl Delay {
    fn draw(&self, chance: &mut Chance) -> u64 {
        match self {
            Self::Fixed(microseconds) => *microseconds,
            Self::Uniform(least, most) => {
                let values = most.saturating_sub(*least).saturating_add(1);
                least.saturating_add(chance.below(values))
            }
            Self::Percentiles(points) => {
                let drawn = chance.fraction() * 100.0;
                let above = points.partition_point(|point| point.percentile <= drawn);
                let at = |index: usize| points.get(index).copied();
                match (above.checked_sub(1).and_then(at), at(above)) {
                    (Some(low), Some(high)) => between(low, high, drawn),
                    (None, Some(only)) | (Some(only), None) => only.microseconds,
                    (None, None) => 0,
                }
            }
        }
    }
}

/// The delay at a percentile between two points.
fn between(low: Percentile, high: Percentile, drawn: f64) -> u64 {
    // In millionths of the way: the arithmetic of integers is the same on every machine.
    let part = (drawn - low.percentile) / (high.percentile - low.percentile);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of one, in millionths; the conversion keeps within the bounds of the type"
    )]
    let millionths = (part.clamp(0.0, 1.0) * 1e6) as u64;
    let way = high.microseconds.saturating_sub(low.microseconds);
    let step = u128::from(way) * u128::from(millionths) / 1_000_000;
    low.microseconds
        .saturating_add(u64::try_from(step).unwrap_or(u64::MAX))
}

/// How data is corrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Corruption {
    /// So many bits, anywhere, are inverted.
    FlipBits(u32),
    /// Bytes are overwritten.
    Overwrite {
        /// The first of them, counted from the first of the data.
        offset: u64,
        /// How many.
        length: u64,
        /// With this, again and again. It is not empty.
        pattern: Vec<u8>,
    },
}

impl Corruption {
    fn draw(&self, length: u64, chance: &mut Chance) -> Change {
        match self {
            Self::FlipBits(count) => {
                Change::Flip(different(*count, length.saturating_mul(8), chance))
            }
            Self::Overwrite {
                offset,
                length,
                pattern,
            } => Change::Overwrite {
                offset: *offset,
                length: *length,
                pattern: pattern.clone(),
            },
        }
    }
}

/// So many different numbers below `bound`, in growing order; all of them if there are not more
/// (Floyd's algorithm).
fn different(count: u32, bound: u64, chance: &mut Chance) -> Vec<u64> {
    let mut drawn = std::collections::BTreeSet::new();
    for last in bound.saturating_sub(u64::from(count))..bound {
        let number = chance.below(last + 1);
        if !drawn.insert(number) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

/// What of a torn write reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// The first so many sectors.
    First(u64),
    /// The last so many.
    Last(u64),
    /// Any of them, each as likely as not.
    Random,
}

impl Tear {
    fn draw(self, sectors: u64, chance: &mut Chance) -> Vec<Run> {
        let run = |first, count| Run { first, count };
        let kept: Vec<Run> = match self {
            Self::First(count) => vec![run(0, count.min(sectors))],
            Self::Last(count) => {
                let count = count.min(sectors);
                vec![run(sectors - count, count)]
            }
            Self::Random => {
                let step = sectors.div_ceil(MAX_COINS).max(1);
                let mut runs: Vec<Run> = Vec::new();
                let mut first = 0;
                while first < sectors {
                    let count = step.min(sectors - first);
                    if chance.coin() {
                        match runs.last_mut() {
                            Some(last) if last.first + last.count == first => last.count += count,
                            _ => runs.push(run(first, count)),
                        }
                    }
                    first += count;
                }
                runs
            }
        };
        kept.into_iter().filter(|run| run.count > 0).collect()
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It fails.
    Error {
        /// Why.
        errno: Errno,
        /// It is performed first.
        after: bool,
    },
    /// It has to wait, while others overtake it.
    Delay(Delay),
    /// It waits until somebody says what becomes of it.
    Hang,
    /// Its data changes on the way.
    Corrupt(Corruption),
    /// A part of a write is performed.
    Torn {
        /// What of it.
        tear: Tear,
        /// What it fails with afterwards.
        errno: Option<Errno>,
    },
    /// It is reported as done.
    Drop,
    /// It is performed at another place.
    Misdirect {
        /// There.
        to_sector: u64,
    },
    /// The rules are in another state from the next request on.
    SetState(String),
    /// The machine stops before it is performed.
    Stop,
    /// The power fails before it is performed.
    PowerCut {
        /// What survives.
        survival: Survival,
        /// What a torn write ends at a multiple of.
        tear_bytes: u32,
        /// What the machine does then.
        then: Then,
    },
}

/// What an action can be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applicable {
    /// These requests.
    pub kinds: Kinds,
    /// In words.
    pub words: &'static str,
}

impl Action {
    /// What it can be done to.
    pub fn applicable(&self) -> Applicable {
        let all_but_reads = Kinds::WRITE
            .with(Kinds::FLUSH)
            .with(Kinds::DISCARD)
            .with(Kinds::WRITE_ZEROES);
        let (kinds, words) = match self {
            Self::Corrupt(_) => (Kinds::READ.with(Kinds::WRITE), "reads and writes"),
            Self::Misdirect { .. } => (Kinds::READ.with(Kinds::WRITE), "reads and writes"),
            Self::Torn { .. } => (Kinds::WRITE, "writes"),
            Self::Drop => (all_but_reads, "everything but reads"),
            _ => (Kinds::ALL, "every request"),
        };
        Applicable { kinds, words }
    }

    /// Takes the chance out of it.
    pub(super) fn decide(&self, seed: u64, request: &Request, chance: &mut Chance) -> Decision {
        match self {
            &Self::Error { errno, after } => Decision::Error { errno, after },
            Self::Delay(delay) => Decision::Delay {
                microseconds: delay.draw(chance),
            },
            Self::Hang => Decision::Hang,
            Self::Corrupt(corruption) => Decision::Corrupt {
                change: corruption.draw(request.length(), chance),
            },
            &Self::Torn { tear, errno } => Decision::Torn {
                keep: tear.draw(request.length() / SECTOR_SIZE, chance),
                errno,
            },
            Self::Drop => Decision::Drop,
            &Self::Misdirect { to_sector } => Decision::Misdirect { to_sector },
            Self::SetState(state) => Decision::SetState {
                new_state: state.clone(),
            },
            Self::Stop => Decision::Stop,
            &Self::PowerCut {
                survival,
                tear_bytes,
                then,
            } => Decision::PowerCut {
                survive: survival,
                seed,
                tear_bytes,
                then,
            },
        }
    }
}

/// Which requests, and what becomes of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// Which requests.
    pub matching: Match,
    /// What becomes of them.
    pub action: Action,
    /// What chance decides follows from it.
    pub seed: u64,
}
