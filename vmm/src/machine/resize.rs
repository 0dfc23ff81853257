//! `block_resize`, answered when the disk has its new size.

use std::collections::BTreeMap;

use faultvisor_devices::block::model::access::Access;
use faultvisor_devices::block::model::errno::Errno;
use faultvisor_devices::block::model::request::SECTOR_SIZE;
use faultvisor_schema::{BlockResizeArguments, CommandError, Reply};

use super::Machine;
use super::disks::MachineDisk;
use crate::inbox::Ticket;

/// Resizes in progress. The machine keeps the replies: at its end it answers those of disks whose host hangs.
#[derive(Default)]
pub(super) struct Resizing {
    next: Ticket,
    /// The replies, with the image's path.
    replies: BTreeMap<Ticket, (String, Reply<()>)>,
}

impl Machine {
    /// Starts a resize, which is answered at its end.
    pub(super) fn resize_command(&mut self, arguments: &BlockResizeArguments, reply: Reply<()>) {
        let (disk, length) = match self.resizable(arguments) {
            Ok(resizable) => resizable,
            Err(error) => return reply.send(Err(error)),
        };
        let ticket = self.resizing.next;
        disk.resize(length, ticket, &self.sender);
        let path = disk.path();
        self.resizing.next = Ticket(ticket.0 + 1);
        self.resizing.replies.insert(ticket, (path, reply));
    }

    /// Handles the end of a resize.
    pub(super) fn disk_resized(&mut self, ticket: Ticket, result: Result<(), Errno>) {
        if let Some((path, reply)) = self.resizing.replies.remove(&ticket) {
            reply.send(match result {
                Ok(()) => Ok(()),
                Err(errno) => {
                    let message = format!("Could not resize '{path}': {errno}");
                    Err(CommandError::generic(message))
                }
            });
        }
    }

    /// The addressed disk, and its new length in bytes.
    fn resizable(
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

    /// A disk by device name or node name, which are the same (QEMU `bdrv_lookup_bs`).
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
