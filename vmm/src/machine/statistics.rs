//! A disk's part of the answer to `query-blockstats`.

use faultvisor_devices::block::policy::statistics::{Kind, Statistics};
use faultvisor_schema::BlockDeviceStats;

/// A disk's counters in QEMU's form.
pub(super) fn of(statistics: &Statistics) -> BlockDeviceStats {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let [read, write, flush, unmap] =
        [Kind::Read, Kind::Write, Kind::Flush, Kind::Unmap].map(|kind| statistics.counts(kind));
    let idle_time_ns = statistics
        .idle_time()
        .map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    BlockDeviceStats {
        rd_bytes: number(read.bytes),
        wr_bytes: number(write.bytes),
        zone_append_bytes: 0,
        unmap_bytes: number(unmap.bytes),
        rd_operations: number(read.done),
        wr_operations: number(write.done),
        zone_append_operations: 0,
        flush_operations: number(flush.done),
        unmap_operations: number(unmap.done),
        rd_total_time_ns: number(read.time_ns),
        wr_total_time_ns: number(write.time_ns),
        zone_append_total_time_ns: 0,
        flush_total_time_ns: number(flush.time_ns),
        unmap_total_time_ns: number(unmap.time_ns),
        wr_highest_offset: number(statistics.highest_written()),
        rd_merged: 0,
        wr_merged: 0,
        zone_append_merged: 0,
        unmap_merged: 0,
        idle_time_ns,
        failed_rd_operations: number(read.failed),
        failed_wr_operations: number(write.failed),
        failed_zone_append_operations: 0,
        failed_flush_operations: number(flush.failed),
        failed_unmap_operations: number(unmap.failed),
        invalid_rd_operations: number(read.invalid),
        invalid_wr_operations: number(write.invalid),
        invalid_zone_append_operations: 0,
        invalid_flush_operations: number(flush.invalid),
        invalid_unmap_operations: number(unmap.invalid),
        account_invalid: true,
        account_failed: true,
        timed_stats: Vec::new(),
    }
}
