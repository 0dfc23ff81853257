//! The most common fault rules. Whatever else a rule can have is set in the value:
//!
//! ```
//! use faultvisor_harness::fault;
//! use faultvisor_harness::libqmp::{BlockFaultErrnoName, BlockFaultOperation, BlockFaultRule};
//!
//! let third_write = BlockFaultRule {
//!     operations: Some(vec![BlockFaultOperation::Write]),
//!     skip: Some(2),
//!     count: Some(1),
//!     ..fault::error("disk0", BlockFaultErrnoName::Enospc)
//! };
//! ```

use std::time::Duration;

use libqmp::{
    BlockFaultDelay, BlockFaultErrno, BlockFaultErrnoName, BlockFaultError, BlockFaultOperation,
    BlockFaultPowerCut, BlockFaultRule, BlockFaultRuleBranch, BlockPowerCutSurvive,
    BlockPowerCutThen,
};

use crate::disk::VolatileDisk;

/// Every request of a disk fails with `errno`.
pub fn error(device: impl Into<String>, errno: BlockFaultErrnoName) -> BlockFaultRule {
    let error = BlockFaultError::new(BlockFaultErrno::Name(errno));
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Error(error))
}

/// Every request of a disk takes this much longer, at most an hour.
pub fn delay(device: impl Into<String>, by: Duration) -> BlockFaultRule {
    let delay = BlockFaultDelay {
        microseconds: Some(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)),
        ..BlockFaultDelay::new()
    };
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Delay(delay))
}

/// Every request of a disk hangs until `block-fault-release`.
pub fn hang(device: impl Into<String>) -> BlockFaultRule {
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Hang)
}

/// Writes, flushes and discards of a disk are reported as complete and are not performed. A lost flush has an effect
/// only at a power cut, on a [volatile](crate::Disk::volatile) disk.
pub fn drop(device: impl Into<String>) -> BlockFaultRule {
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Drop)
}

/// The power is cut before a request of a disk, and what was not flushed is lost: all of it, unless
/// [`survive`](PowerCut::survive) says otherwise. The disk must be able to lose something, as
/// [`Disk::volatile`](crate::Disk::volatile) can: without a volatile cache (`volatile-cache=on` of `--drive`) every
/// write is in the image when the guest is told that it is complete, and a power cut loses nothing.
///
/// ```
/// use faultvisor_harness::libqmp::{BlockFaultOperation, BlockPowerCutSurvive, BlockPowerCutThen};
/// use faultvisor_harness::{Disk, fault};
///
/// let disk = Disk::scratch(64 << 20).volatile("disk0");
/// let cut = fault::power_cut(&disk)
///     .before(BlockFaultOperation::Write)
///     .skip(199)
///     .survive(BlockPowerCutSurvive::Random)
///     .seed(7)
///     .then(BlockPowerCutThen::Quit)
///     .rule();
/// assert_eq!(cut.device, "disk0");
/// ```
pub fn power_cut(disk: &VolatileDisk) -> PowerCut {
    let cut = BlockFaultPowerCut::new();
    let device = disk.id().to_owned();
    PowerCut {
        rule: BlockFaultRule {
            count: Some(1),
            ..BlockFaultRule::new(device, BlockFaultRuleBranch::PowerCut(cut.clone()))
        },
        cut,
    }
}

/// The description of a power cut, which happens once.
#[derive(Debug, Clone)]
#[must_use]
pub struct PowerCut {
    rule: BlockFaultRule,
    cut: BlockFaultPowerCut,
}

impl PowerCut {
    /// Only before requests with this operation.
    pub fn before(mut self, operation: BlockFaultOperation) -> Self {
        self.rule.operations = Some(vec![operation]);
        self
    }

    /// Skips this many requests.
    pub fn skip(mut self, requests: u64) -> Self {
        self.rule.skip = Some(requests);
        self
    }

    /// Sets what is kept of the unflushed writes.
    pub fn survive(mut self, survive: BlockPowerCutSurvive) -> Self {
        self.cut.survive = Some(survive);
        self
    }

    /// Sets the seed of the random choices: the same seed loses the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rule.seed = Some(seed);
        self
    }

    /// Sets what the machine does afterwards: by default, it is reset.
    pub fn then(mut self, then: BlockPowerCutThen) -> Self {
        self.cut.then = Some(then);
        self
    }

    /// The rule, for `block-fault-add`.
    pub fn rule(self) -> BlockFaultRule {
        BlockFaultRule {
            action: BlockFaultRuleBranch::PowerCut(self.cut),
            ..self.rule
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk;

    #[test]
    fn a_power_cut_rule_has_the_members_that_were_set() {
        let disk = Disk::scratch(1 << 20).volatile("data");
        let cut = power_cut(&disk).rule();
        assert_eq!((cut.device.as_str(), cut.count), ("data", Some(1)));
        assert_eq!((&cut.operations, cut.skip, cut.seed), (&None, None, None));
        let cut = power_cut(&disk)
            .before(BlockFaultOperation::Flush)
            .skip(3)
            .seed(9)
            .survive(BlockPowerCutSurvive::Prefix)
            .then(BlockPowerCutThen::Quit)
            .rule();
        let flush = Some(vec![BlockFaultOperation::Flush]);
        assert_eq!(
            (cut.operations, cut.skip, cut.seed),
            (flush, Some(3), Some(9))
        );
        let expected = BlockFaultPowerCut {
            survive: Some(BlockPowerCutSurvive::Prefix),
            then: Some(BlockPowerCutThen::Quit),
            ..BlockFaultPowerCut::new()
        };
        assert_eq!(cut.action, BlockFaultRuleBranch::PowerCut(expected));
    }
}
