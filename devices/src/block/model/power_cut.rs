//! What a power cut is to a disk: which of the writes that it had called complete, and that no flush
//! has made durable, are still there afterwards.

use serde::{Deserialize, Serialize};

/// Which of the writes in a volatile cache survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Survival {
    /// None: the disk is as the last flush left it.
    None,
    /// All, as if the disk had had the time to write them.
    All,
    /// The first of them, in the order in which they were completed; how many follows from the
    /// seed. The one after them is torn.
    Prefix,
    /// Any of their sectors, each as the seed says. The last write is torn.
    Random,
}

/// A power cut, as one disk sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerCut {
    /// What survives.
    pub survival: Survival,
    /// What chance decides follows from it.
    pub seed: u64,
    /// A torn write is cut at a multiple of this many bytes: 512 for whole sectors, less for a disk
    /// that does not even write those at once. From one to 512, a power of two.
    pub tear_bytes: u32,
}

/// What a power cut cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Writes, and requests for zeroes, that had been completed and are not there, or not wholly.
    pub writes: u64,
    /// Sectors of them that are not as they had been written.
    pub sectors: u64,
}

/// What the machine does after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It begins again.
    Reset,
    /// It stops.
    Stop,
    /// The program ends.
    Quit,
}
