//! `block_resize`: a disk's new size, answered when it has it.

use faultvisor_devices::block::{Access, Errno, SECTOR_SIZE};
use faultvisor_monitor::Reply;
use faultvisor_schema::{BlockResizeArguments, CommandError, Empty, MachineReturn};

use super::Machine;
use super::disks::MachineDisk;

impl Machine {
    /// Begins a change of size, whose end is the answer.
    pub(super) fn resize_command(&self, arguments: &BlockResizeArguments, reply: Reply) {
        match self.resizable(arguments) {
            Ok((disk, length)) => {
                let path = disk.path();
                disk.resize(
                    length,
                    Box::new(move |result| {
                        let refused = |errno: Errno| {
                            CommandError::generic(format!("Could not resize '{path}': {errno}"))
                        };
                        let done = |()| MachineReturn::Empty(Empty {});
                        reply.send(result.map(done).map_err(refused));
                    }),
                );
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    /// The disk that is meant, and its new length in bytes.
    pub(super) fn resizable(
        &self,
        arguments: &BlockResizeArguments,
    ) -> Result<(&MachineDisk, u64), CommandError> {
        let BlockResizeArguments {
            device,
            node_name,
            size,
        } = arguments;
        let disk = self.disk_or_node(device.as_deref(), node_name.as_deref())?;
        let length = u64::try_from(*size)
            .map_err(|_| CommandError::generic("Parameter 'size' expects a >0 size"))?;
        if !length.is_multiple_of(SECTOR_SIZE) {
            return Err(CommandError::generic(format!(
                "Parameter 'size' expects a multiple of {SECTOR_SIZE}"
            )));
        }
        if disk.access() == Access::ReadOnly {
            return Err(CommandError::generic("Image is read-only"));
        }
        Ok((disk, length))
    }

    /// A disk by its own name or by its node's, which is the same (QEMU `bdrv_lookup_bs`).
    fn disk_or_node(
        &self,
        device: Option<&str>,
        node_name: Option<&str>,
    ) -> Result<&MachineDisk, CommandError> {
        let mut disks = self.disks.iter();
        let found = disks.find(|disk| [device, node_name].contains(&Some(disk.id())));
        found.ok_or_else(|| {
            CommandError::generic(format!(
                "Cannot find device='{}' nor node-name='{}'",
                device.unwrap_or_default(),
                node_name.unwrap_or_default()
            ))
        })
    }
}
