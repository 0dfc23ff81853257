//! The commonest rules for faults. What else a rule can say is set in the value:
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
    BlockFaultDelay, BlockFaultErrno, BlockFaultErrnoName, BlockFaultError, BlockFaultPowerCut,
    BlockFaultRule, BlockFaultRuleBranch,
};

/// Every request of a disk fails with `errno`.
pub fn error(device: impl Into<String>, errno: BlockFaultErrnoName) -> BlockFaultRule {
    let error = BlockFaultError::new(BlockFaultErrno::Name(errno));
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Error(error))
}

/// Every request of a disk takes so much longer, at most an hour.
pub fn delay(device: impl Into<String>, by: Duration) -> BlockFaultRule {
    let delay = BlockFaultDelay {
        microseconds: Some(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)),
        ..BlockFaultDelay::new()
    };
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Delay(delay))
}

/// No request of a disk is performed until `block-fault-release` says what is to become of it.
pub fn hang(device: impl Into<String>) -> BlockFaultRule {
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Hang)
}

/// Writes, flushes and discards of a disk are reported as done, and are not.
pub fn drop(device: impl Into<String>) -> BlockFaultRule {
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::Drop)
}

/// The power fails before a request of a disk is performed.
pub fn power_cut(device: impl Into<String>) -> BlockFaultRule {
    let cut = BlockFaultPowerCut::new();
    BlockFaultRule::new(device.into(), BlockFaultRuleBranch::PowerCut(cut))
}
