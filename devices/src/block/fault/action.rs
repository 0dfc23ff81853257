//! The actions of rules, from the schema's form to their execution.
//!
//! An action has four forms here, one after the other. [`FaultAction`] is a rule's, checked. [`Decision`] has every
//! random choice resolved: a log records it, and a replay applies it. `Effect` is its meaning for a request, and
//! [`Alteration`] the effect of performing the request differently. [`properties`] is the table of what holds of each
//! action.

use std::time::Duration;

use faultvisor_schema::{BlockFaultActionType, BlockFaultRuleBranch};
use serde::{Deserialize, Serialize};

use super::draw::{Change, Corruption, Delay, MAX_DELAY, SectorRun, Tear};
use super::errno_names::errno_of;
use super::kinds::{Kinds, RecordedOperation};
use super::names::check_name;
use super::rng::Chance;
use super::rule_error::RuleError;
use super::{log_fields, power_cut};
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::power_cut::{PowerCut, Survival, Then};
use crate::block::model::request::{Operation, Range, Request, SECTOR_SIZE};

/// The properties of an action, whatever its members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// The kinds of requests that it applies to.
    pub kinds: Kinds,
    /// The same in words.
    pub words: &'static str,
    /// Whether rules behind it are evaluated.
    pub passes_on: bool,
}

/// The table of actions: the requests that each applies to, and whether rules behind it are evaluated.
pub fn properties(action: BlockFaultActionType) -> Properties {
    use BlockFaultActionType as Type;
    const READS_AND_WRITES: (Kinds, &str) = (Kinds::READ.with(Kinds::WRITE), "reads and writes");
    const WRITES: (Kinds, &str) = (Kinds::WRITE, "writes");
    const ALL_BUT_READS: (Kinds, &str) = (Kinds::READ.complement(), "everything but reads");
    const ALL: (Kinds, &str) = (Kinds::ALL, "every request");
    let ((kinds, words), passes_on) = match action {
        Type::Error => (ALL, false),
        Type::Delay => (ALL, true),
        Type::Hang => (ALL, false),
        Type::Corrupt => (READS_AND_WRITES, false),
        Type::Torn => (WRITES, false),
        Type::Drop => (ALL_BUT_READS, false),
        Type::Misdirect => (READS_AND_WRITES, false),
        Type::SetState => (ALL, true),
        Type::Stop => (ALL, false),
        Type::PowerCut => (ALL, false),
    };
    Properties {
        kinds,
        words,
        passes_on,
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultAction {
    /// It fails.
    Error {
        /// The error.
        errno: Errno,
        /// It is performed first.
        after: bool,
    },
    /// It is delayed; others overtake it.
    Delay(Delay),
    /// It hangs until it is released.
    Hang,
    /// Its data are altered.
    Corrupt(Corruption),
    /// A part of a write is performed.
    Torn {
        /// The part.
        tear: Tear,
        /// The error that it then fails with.
        errno: Option<Errno>,
    },
    /// It is reported as complete.
    Drop,
    /// It is performed at another sector.
    Misdirect {
        /// The sector.
        to_sector: u64,
    },
    /// The state of the rules changes from the next request on.
    SetState(String),
    /// The machine stops before it is performed.
    Stop,
    /// The power is cut before it.
    PowerCut {
        /// What is kept.
        survival: Survival,
        /// The unit of a torn write's end.
        tear_bytes: u32,
        /// What the machine does afterwards.
        then: Then,
    },
}

impl FaultAction {
    /// Converts a rule's action from the schema's form, for a disk of `disk_sectors` sectors.
    ///
    /// # Errors
    ///
    /// [`RuleError`] names the member that is wrong.
    pub(super) fn new(given: &BlockFaultRuleBranch, disk_sectors: u64) -> Result<Self, RuleError> {
        Ok(match given {
            BlockFaultRuleBranch::Error(error) => Self::Error {
                errno: errno_of(&error.errno)?,
                after: error.after.unwrap_or(false),
            },
            BlockFaultRuleBranch::Delay(given) => Self::Delay(Delay::new(given)?),
            BlockFaultRuleBranch::Hang => Self::Hang,
            BlockFaultRuleBranch::Corrupt(given) => Self::Corrupt(Corruption::new(given)?),
            BlockFaultRuleBranch::Torn(given) => Self::Torn {
                tear: Tear::new(given)?,
                errno: given.errno.as_ref().map(errno_of).transpose()?,
            },
            BlockFaultRuleBranch::Drop => Self::Drop,
            BlockFaultRuleBranch::Misdirect(given) => Self::Misdirect {
                to_sector: on_disk(given.to_sector, disk_sectors)?,
            },
            BlockFaultRuleBranch::SetState(given) => {
                check_name("new-state", &given.new_state)?;
                Self::SetState(given.new_state.clone())
            }
            BlockFaultRuleBranch::Stop => Self::Stop,
            BlockFaultRuleBranch::PowerCut(given) => Self::PowerCut {
                survival: power_cut::survival(given.survive),
                tear_bytes: power_cut::tear_bytes(given.tear_bytes)?,
                then: power_cut::then(given.then),
            },
        })
    }

    /// Resolves its random choices.
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

fn on_disk(sector: u64, disk: u64) -> Result<u64, RuleError> {
    if sector < disk {
        Ok(sector)
    } else {
        let reason = format!("is not on the disk, which has {disk}");
        Err(RuleError::value("to-sector", &sector, reason))
    }
}

/// What happens to a request, without randomness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "action",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Decision {
    /// It fails.
    Error {
        /// The error.
        #[serde(with = "log_fields::number")]
        errno: Errno,
        /// It is performed first.
        after: bool,
    },
    /// It is delayed.
    Delay {
        /// For this long.
        microseconds: u64,
    },
    /// It hangs until it is released.
    Hang,
    /// Its data are altered.
    Corrupt {
        /// The alteration.
        change: Change,
    },
    /// A part of a write is performed.
    Torn {
        /// The parts, in ascending order.
        keep: Vec<SectorRun>,
        /// The error that it then fails with.
        #[serde(with = "log_fields::optional_number", default)]
        errno: Option<Errno>,
    },
    /// It is reported as complete.
    Drop,
    /// It is performed at another sector.
    Misdirect {
        /// The sector.
        to_sector: u64,
    },
    /// The state of the rules changes from the next request on.
    SetState {
        /// The new state.
        new_state: String,
    },
    /// The machine stops before it is performed.
    Stop,
    /// The power is cut before it.
    PowerCut {
        /// What is kept.
        #[serde(with = "log_fields::survival")]
        survive: Survival,
        /// The seed of the cut.
        seed: u64,
        /// The unit of a torn write's end.
        #[serde(deserialize_with = "log_fields::tear_bytes")]
        tear_bytes: u32,
        /// What the machine does afterwards.
        then: Then,
    },
}

impl Decision {
    /// The action that made it.
    pub fn action(&self) -> BlockFaultActionType {
        match self {
            Self::Error { .. } => BlockFaultActionType::Error,
            Self::Delay { .. } => BlockFaultActionType::Delay,
            Self::Hang => BlockFaultActionType::Hang,
            Self::Corrupt { .. } => BlockFaultActionType::Corrupt,
            Self::Torn { .. } => BlockFaultActionType::Torn,
            Self::Drop => BlockFaultActionType::Drop,
            Self::Misdirect { .. } => BlockFaultActionType::Misdirect,
            Self::SetState { .. } => BlockFaultActionType::SetState,
            Self::Stop => BlockFaultActionType::Stop,
            Self::PowerCut { .. } => BlockFaultActionType::PowerCut,
        }
    }

    /// Whether rules behind it are evaluated.
    pub fn passes_on(&self) -> bool {
        properties(self.action()).passes_on
    }

    /// Whether it applies to such a request, which a log need not respect.
    pub(super) fn applies_to(&self, operation: RecordedOperation) -> bool {
        let kinds = properties(self.action()).kinds;
        kinds.contains(operation.kind())
    }

    /// Its meaning for the request.
    pub(super) fn effect(&self) -> Effect<'_> {
        match self {
            Self::Error {
                errno,
                after: false,
            } => Effect::Fail(*errno),
            Self::Error { errno, after: true } => Effect::Alter(Alteration::FailAfter(*errno)),
            Self::Delay { microseconds } => {
                // A log can contain anything.
                Effect::Delay(Duration::from_micros(*microseconds).min(MAX_DELAY))
            }
            Self::Hang => Effect::Hang,
            Self::Corrupt { change } => Effect::Alter(Alteration::Corrupt(change.clone())),
            Self::Torn { keep, errno } => Effect::Alter(Alteration::Torn(keep.clone(), *errno)),
            Self::Drop => Effect::Drop,
            Self::Misdirect { to_sector } => Effect::Alter(Alteration::Misdirect(*to_sector)),
            Self::SetState { new_state } => Effect::SetState(new_state),
            Self::Stop => Effect::Stop,
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
                Effect::PowerCut(cut, then)
            }
        }
    }
}

/// The meaning of a decision for a request, and for those behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect<'a> {
    /// It is delayed first.
    Delay(Duration),
    /// The state of the rules changes from the next request on.
    SetState(&'a str),
    /// It is performed differently.
    Alter(Alteration),
    /// It fails.
    Fail(Errno),
    /// It is reported as complete.
    Drop,
    /// It hangs.
    Hang,
    /// The machine stops, and then it is performed.
    Stop,
    /// The power is cut.
    PowerCut(PowerCut, Then),
}

/// How a request is performed differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alteration {
    /// It is performed, and fails.
    FailAfter(Errno),
    /// Its data are altered.
    Corrupt(Change),
    /// These parts of it are performed, and then it may fail.
    Torn(Vec<SectorRun>, Option<Errno>),
    /// It is performed at this sector.
    Misdirect(u64),
}

/// The backend's requests for an altered request.
pub(super) struct Plan {
    /// The requests to perform.
    pub parts: Vec<HostRequest>,
    /// The error of the request when they have completed.
    pub errno: Option<Errno>,
    /// The alteration of the data read, and where they are.
    pub change: Option<(Change, IoBuffers)>,
}

impl Alteration {
    /// The plan for a request to a disk of `disk_length` bytes.
    ///
    /// # Errors
    ///
    /// EIO for a range beyond the disk.
    pub(super) fn plan(self, request: HostRequest, disk_length: u64) -> Result<Plan, Errno> {
        let plan = |parts, errno, change| Plan {
            parts,
            errno,
            change,
        };
        Ok(match self {
            Self::FailAfter(errno) => plan(vec![request], Some(errno), None),
            Self::Torn(runs, errno) => plan(torn(&request, &runs), errno, None),
            Self::Misdirect(sector) => plan(vec![moved(request, sector, disk_length)?], None, None),
            Self::Corrupt(change) if request.operation.is_read() => {
                let buffers = request.buffers.clone();
                plan(vec![request], None, Some((change, buffers)))
            }
            Self::Corrupt(change) => plan(vec![corrupted(&request, &change)], None, None),
        })
    }
}

/// Some sectors of a write, as writes of their own.
fn torn(request: &HostRequest, runs: &[SectorRun]) -> Vec<HostRequest> {
    let Operation::Write { offset, durability } = request.operation else {
        return Vec::new();
    };
    let bytes = runs.iter().map(|run| Range {
        offset: run.first.saturating_mul(SECTOR_SIZE),
        length: run.count.saturating_mul(SECTOR_SIZE),
    });
    let parts = request.buffers.parts(bytes).into_iter();
    let part = |(start, buffers)| {
        let offset = offset.saturating_add(start);
        let operation = Operation::Write { offset, durability };
        HostRequest { operation, buffers }
    };
    parts.map(part).collect()
}

/// The same request at another sector.
fn moved(mut request: HostRequest, sector: u64, length: u64) -> Result<HostRequest, Errno> {
    let to = sector.checked_mul(SECTOR_SIZE).ok_or(Errno::EIO)?;
    if let Operation::Read { offset } | Operation::Write { offset, .. } = &mut request.operation {
        *offset = to;
    }
    if request.end() > length {
        return Err(Errno::EIO);
    }
    Ok(request)
}

/// A write of altered data, from a bounce buffer; guest memory is not changed.
fn corrupted(request: &HostRequest, change: &Change) -> HostRequest {
    let buffers = request.buffers.copy();
    change.apply(&buffers);
    let operation = request.operation.clone();
    HostRequest { operation, buffers }
}
