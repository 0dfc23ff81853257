//! What a rule did to a request, with nothing left to chance: what a log holds, and what can be
//! done again.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{PowerCut, Survival, Then};
use crate::block::model::request::{Operation, SECTOR_SIZE};

/// Sectors that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first, counted from the request's first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// A change of some bytes of a request's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// These bits of the data are inverted: bit 0 is the lowest of the first byte.
    Flip(Vec<u64>),
    /// Bytes are overwritten.
    Overwrite {
        /// The first of them.
        offset: u64,
        /// How many.
        length: u64,
        /// With this, again and again.
        pattern: Vec<u8>,
    },
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "action",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Decision {
    /// It fails.
    Error {
        /// Why.
        #[serde(with = "number")]
        errno: Errno,
        /// It is performed first.
        after: bool,
    },
    /// It has to wait.
    Delay {
        /// So long.
        microseconds: u64,
    },
    /// It waits until somebody says what becomes of it.
    Hang,
    /// Its data changes on the way.
    Corrupt {
        /// How.
        change: Change,
    },
    /// A part of a write is performed.
    Torn {
        /// What of it, in growing order.
        keep: Vec<Run>,
        /// What it fails with afterwards.
        #[serde(with = "optional_number", default)]
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
    SetState {
        /// This one.
        new_state: String,
    },
    /// The machine stops before it is performed.
    Stop,
    /// The power fails before it is performed.
    PowerCut {
        /// What survives.
        #[serde(with = "survival")]
        survive: Survival,
        /// What the rest follows from.
        seed: u64,
        /// What a torn write ends at a multiple of.
        #[serde(deserialize_with = "tear_bytes")]
        tear_bytes: u32,
        /// What the machine does then.
        then: Then,
    },
}

impl Decision {
    /// Its action's name in the schema.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Delay { .. } => "delay",
            Self::Hang => "hang",
            Self::Corrupt { .. } => "corrupt",
            Self::Torn { .. } => "torn",
            Self::Drop => "drop",
            Self::Misdirect { .. } => "misdirect",
            Self::SetState { .. } => "set-state",
            Self::Stop => "stop",
            Self::PowerCut { .. } => "power-cut",
        }
    }

    /// Whether rules behind the one that decided this look at the request, too.
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Delay { .. } | Self::SetState { .. })
    }

    /// Whether it can be done to such a request. Rules ask before ([`Action::applicable`]); a log may
    /// say anything.
    ///
    /// [`Action::applicable`]: super::rule::Action::applicable
    pub(super) fn applies_to(&self, operation: RecordedOperation) -> bool {
        use RecordedOperation::{Read, Write};
        match self {
            Self::Corrupt { .. } | Self::Misdirect { .. } => matches!(operation, Read | Write),
            Self::Torn { .. } => operation == Write,
            Self::Drop => operation != Read,
            _ => true,
        }
    }

    /// The power cut that it is, if it is one.
    pub fn power_cut(&self) -> Option<(PowerCut, Then)> {
        match self {
            &Self::PowerCut {
                survive,
                seed,
                tear_bytes,
                then,
            } => {
                let cut = PowerCut {
                    survival: survive,
                    seed,
                    tear_bytes,
                };
                Some((cut, then))
            }
            _ => None,
        }
    }
}

/// What a request asks for, as a log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedOperation {
    /// Data.
    Read,
    /// To store data.
    Write,
    /// To make durable what was written.
    Flush,
    /// To forget a part of the disk.
    Discard,
    /// To let a part of the disk read as zeroes.
    WriteZeroes,
}

impl RecordedOperation {
    /// What that operation is recorded as.
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Read { .. } => Self::Read,
            Operation::Write { .. } => Self::Write,
            Operation::Flush => Self::Flush,
            Operation::Discard { .. } => Self::Discard,
            Operation::WriteZeroes { .. } => Self::WriteZeroes,
        }
    }
}

/// A line of a fault log: that a rule fired. It names no time: two runs of the same requests have
/// the same lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The disk.
    pub device: String,
    /// The request's number on its disk, from 1 on.
    pub ordinal: u64,
    /// How often the request was about to be performed before.
    #[serde(default)]
    pub attempt: u32,
    /// What it asks for.
    pub operation: RecordedOperation,
    /// Its first sector; 0 for a flush.
    pub sector: u64,
    /// Its length in sectors.
    pub sectors: u64,
    /// The rule's name.
    pub id: String,
    /// What became of the request.
    #[serde(flatten)]
    pub decision: Decision,
}

/// What a torn write ends at a multiple of: what else a log says cannot be done.
fn tear_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let bytes = u32::deserialize(from)?;
    if bytes.is_power_of_two() && u64::from(bytes) <= SECTOR_SIZE {
        Ok(bytes)
    } else {
        let text = format!("'tear-bytes' is {bytes}, which is not a power of two up to 512");
        Err(D::Error::custom(text))
    }
}

/// An errno as its number.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::block::model::errno::Errno;

    pub(super) fn serialize<S: Serializer>(errno: &Errno, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(errno.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Errno, D::Error> {
        let number = i32::deserialize(from)?;
        // What a system call can return.
        if (1..=4095).contains(&number) {
            return Ok(Errno(number));
        }
        let message = format!("{number} is no errno");
        Err(serde::de::Error::custom(message))
    }
}

/// An errno as its number, or nothing.
mod optional_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::block::model::errno::Errno;

    #[expect(clippy::ref_option, reason = "this is how the derived code calls it")]
    pub(super) fn serialize<S: Serializer>(
        errno: &Option<Errno>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        errno.map(|errno| errno.0).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Errno>, D::Error> {
        #[derive(Deserialize)]
        struct Given(#[serde(with = "super::number")] Errno);

        let given: Option<Given> = Option::deserialize(from)?;
        Ok(given.map(|Given(errno)| errno))
    }
}

/// What survives, by its name in the schema.
mod survival {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::block::model::power_cut::Survival;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case", remote = "Survival")]
    enum Names {
        None,
        All,
        Prefix,
        Random,
    }

    pub(super) fn serialize<S: Serializer>(survival: &Survival, to: S) -> Result<S::Ok, S::Error> {
        Names::serialize(survival, to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Survival, D::Error> {
        Names::deserialize(from)
    }
}
