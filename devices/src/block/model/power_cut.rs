//! A power cut as a disk sees it: which completed writes that no flush made durable survive.

use serde::{Deserialize, Serialize};

/// Which of the writes in a volatile cache survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Survival {
    /// None: the disk is as the last flush left it.
    None,
    /// All, as if the disk had written its cache back.
    All,
    /// The first of them in completion order; the seed determines how many. The one after them is
    /// torn.
    Prefix,
    /// Any of their sectors, chosen by the seed. The last write is torn.
    Random,
}

/// A power cut, as one disk sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerCut {
    /// What survives.
    pub survival: Survival,
    /// Seed of the random choices.
    pub seed: u64,
    /// A torn write is cut at a multiple of this many bytes: 512 for whole sectors, less for a disk
    /// without atomic sector writes. A power of two from 1 to 512.
    pub tear_bytes: u32,
}

/// The losses of a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Completed writes and zero requests that are lost, at least in part.
    pub writes: u64,
    /// Their sectors that do not hold what was written.
    pub sectors: u64,
}

/// What the machine does after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It resets.
    Reset,
    /// It stops.
    Stop,
    /// The program ends.
    Quit,
}
