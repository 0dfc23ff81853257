//! A line of a fault log.

use serde::{Deserialize, Serialize};

use super::action::Decision;
use super::kinds::RecordedOperation;

/// A line of a fault log: a fault decision. It has no time: two runs with the same requests have the same lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The disk.
    pub device: String,
    /// The request's number on its disk, from 1 on.
    pub ordinal: u64,
    /// How often the request was about to be submitted before.
    #[serde(default)]
    pub attempt: u32,
    /// Its operation.
    pub operation: RecordedOperation,
    /// Its first sector; 0 for a flush.
    pub sector: u64,
    /// Its length in sectors.
    pub sectors: u64,
    /// The rule's name.
    pub id: String,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
}
