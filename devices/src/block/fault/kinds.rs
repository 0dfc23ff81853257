//! Kinds of requests, as in rules and logs.

use faultvisor_schema::BlockFaultOperation;
use serde::{Deserialize, Serialize};

use crate::block::model::request::Operation;

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

    /// Each kind, by its number.
    pub(super) const EACH: [Self; 5] = [
        Self::READ,
        Self::WRITE,
        Self::FLUSH,
        Self::DISCARD,
        Self::WRITE_ZEROES,
    ];

    /// The number of the first kind of a set.
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

    /// The kind of an operation of the schema.
    pub fn named(operation: BlockFaultOperation) -> Self {
        match operation {
            BlockFaultOperation::Read => Self::READ,
            BlockFaultOperation::Write => Self::WRITE,
            BlockFaultOperation::Flush => Self::FLUSH,
            BlockFaultOperation::Discard => Self::DISCARD,
            BlockFaultOperation::WriteZeroes => Self::WRITE_ZEROES,
        }
    }

    /// The union.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The complement.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    /// The intersection.
    #[must_use]
    pub const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether it contains all of those.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A request's operation, as in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedOperation {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Makes complete writes durable.
    Flush,
    /// Frees a range.
    Discard,
    /// Makes a range read as zeroes.
    WriteZeroes,
}

impl RecordedOperation {
    /// The record of an operation.
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Read { .. } => Self::Read,
            Operation::Write { .. } => Self::Write,
            Operation::Flush => Self::Flush,
            Operation::Discard { .. } => Self::Discard,
            Operation::WriteZeroes { .. } => Self::WriteZeroes,
        }
    }

    /// The kind of such requests.
    pub fn kind(self) -> Kinds {
        match self {
            Self::Read => Kinds::READ,
            Self::Write => Kinds::WRITE,
            Self::Flush => Kinds::FLUSH,
            Self::Discard => Kinds::DISCARD,
            Self::WriteZeroes => Kinds::WRITE_ZEROES,
        }
    }
}
