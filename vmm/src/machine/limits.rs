//! Throttling limits and write thresholds: the commands that change them, and how queries show them.

use std::sync::Arc;
use std::time::Instant;

use faultvisor_devices::block::throttle::group::Group;
use faultvisor_devices::block::throttle::limits::{Limit, Limits, Measure};
use faultvisor_schema::{
    BlockDeviceInfo, BlockIOThrottle, BlockSetWriteThresholdArguments, CommandError, Reply,
};

use super::Machine;
use super::disks::{MachineDisk, qom_path, transport_path};

impl Machine {
    /// `block_set_io_throttle`, as in QEMU (`block/qapi-system.c`), answered when the disk's thread applies the limits.
    pub(super) fn limit_command(&self, arguments: &BlockIOThrottle, reply: Reply<()>) {
        match self.limited(arguments) {
            Ok((disk, group)) => disk.set_group(group, Box::new(|| reply.done())),
            Err(error) => reply.send(Err(error)),
        }
    }

    /// The addressed disk, and its new group with the new limits.
    fn limited(
        &self,
        arguments: &BlockIOThrottle,
    ) -> Result<(&MachineDisk, Option<Arc<Group>>), CommandError> {
        let disk = self.limited_disk(arguments)?;
        let limits = limits(arguments)?;
        let group = if limits.are_none() {
            None
        } else {
            let name = match (&arguments.group, disk.group()) {
                (Some(name), _) => name.clone(),
                (None, Some(group)) => group.name().to_owned(),
                (None, None) => disk.id().to_owned(),
            };
            Some(group(&self.disks, name, limits))
        };
        Ok((disk, group))
    }

    fn limited_disk(&self, arguments: &BlockIOThrottle) -> Result<&MachineDisk, CommandError> {
        let (name, is_meant): (_, fn(&MachineDisk, &str) -> bool) =
            match (&arguments.device, &arguments.id) {
                (Some(device), None) => (device, |disk, name| disk.id() == name),
                (None, Some(id)) => (id, |disk, name| {
                    let id = disk.id();
                    [id, &qom_path(id), &transport_path(id)].contains(&name)
                }),
                _ => {
                    let message = "Need exactly one of 'device' and 'id'";
                    return Err(CommandError::generic(message));
                }
            };
        let found = self.disks.iter().find(|disk| is_meant(disk, name));
        found.ok_or_else(|| CommandError::device_not_found(name))
    }

    /// `block-set-write-threshold`, as in QEMU (`block/write-threshold.c`): an unknown node is a `GenericError`.
    pub(super) fn set_write_threshold(
        &self,
        arguments: &BlockSetWriteThresholdArguments,
    ) -> Result<(), CommandError> {
        let name = &arguments.node_name;
        let Some(disk) = self.disks.iter().find(|disk| disk.id() == name) else {
            return Err(CommandError::generic(format!("Device '{name}' not found")));
        };
        disk.set_write_threshold(arguments.write_threshold);
        Ok(())
    }
}

/// The group of that name, existing or new, with these limits.
pub(super) fn group(disks: &[MachineDisk], name: String, limits: Limits) -> Arc<Group> {
    let mut groups = disks.iter().filter_map(MachineDisk::group);
    let now = Instant::now();
    match groups.find(|group| group.name() == name) {
        Some(group) => {
            group.set_limits(limits, now);
            group
        }
        None => Arc::new(Group::new(name, limits, now)),
    }
}

/// The requested limits. A negative number counts as too large, as in QEMU.
fn limits(arguments: &BlockIOThrottle) -> Result<Limits, CommandError> {
    let number = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let limit = |measure| {
        let a = arguments;
        let (average, maximum, length) = match measure {
            Measure::BpsTotal => (a.bps, a.bps_max, a.bps_max_length),
            Measure::BpsRead => (a.bps_rd, a.bps_rd_max, a.bps_rd_max_length),
            Measure::BpsWrite => (a.bps_wr, a.bps_wr_max, a.bps_wr_max_length),
            Measure::IopsTotal => (a.iops, a.iops_max, a.iops_max_length),
            Measure::IopsRead => (a.iops_rd, a.iops_rd_max, a.iops_rd_max_length),
            Measure::IopsWrite => (a.iops_wr, a.iops_wr_max, a.iops_wr_max_length),
        };
        Limit {
            average: number(average),
            maximum: maximum.map_or(0, number),
            length: length.map_or(1, number),
        }
    };
    let size = u64::try_from(arguments.iops_size.unwrap_or_default())
        .map_err(|_| CommandError::generic("Parameter 'iops_size' expects a value from 0 on"))?;
    Limits::new(limit, size).map_err(|error| CommandError::generic(error.to_string()))
}

/// Adds a group's limits to a disk's description.
pub(super) fn show(group: &Group, info: &mut BlockDeviceInfo) {
    let limits = group.limits();
    let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
    let some = |value| Some(number(value)).filter(|value| *value != 0);
    let of = |measure| {
        let Limit {
            average,
            maximum,
            length,
        } = limits.of(measure);
        let length = some(maximum).map(|_| number(length));
        (number(average), some(maximum), length)
    };
    (info.bps, info.bps_max, info.bps_max_length) = of(Measure::BpsTotal);
    (info.bps_rd, info.bps_rd_max, info.bps_rd_max_length) = of(Measure::BpsRead);
    (info.bps_wr, info.bps_wr_max, info.bps_wr_max_length) = of(Measure::BpsWrite);
    (info.iops, info.iops_max, info.iops_max_length) = of(Measure::IopsTotal);
    (info.iops_rd, info.iops_rd_max, info.iops_rd_max_length) = of(Measure::IopsRead);
    (info.iops_wr, info.iops_wr_max, info.iops_wr_max_length) = of(Measure::IopsWrite);
    info.iops_size = some(limits.iops_size());
    info.group = Some(group.name().to_owned());
}
