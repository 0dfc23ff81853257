//! The machine's part of the monitor's commands.

use faultvisor_schema::{
    BlockDeviceInfo, BlockFaultAdded, BlockFaultClearArguments, BlockFaultInfo,
    BlockFaultReleaseArguments, BlockFaultReleased, BlockFaultRemoveArguments, BlockFaultRule,
    BlockFaultSetStateArguments, BlockIOThrottle, BlockInfo, BlockPowerCutArguments,
    BlockResizeArguments, BlockSetWriteThresholdArguments, BlockStats, CommandError, KvmInfo,
    MachineCommands, NameInfo, QueryBlockstatsArguments, QueryNamedBlockNodesArguments, RunState,
    ShutdownCause, StatusInfo,
};

use super::Machine;
use super::disks::MachineDisk;
use super::nodes::Nesting;
use super::view;

impl MachineCommands for Machine {
    fn query_status(&mut self) -> Result<StatusInfo, CommandError> {
        Ok(view::status(self.state))
    }

    fn query_kvm(&mut self) -> Result<KvmInfo, CommandError> {
        Ok(view::kvm())
    }

    fn query_name(&mut self) -> Result<NameInfo, CommandError> {
        Ok(self.view.name())
    }

    fn query_block(&mut self) -> Result<Vec<BlockInfo>, CommandError> {
        Ok(self.disks.iter().map(MachineDisk::info).collect())
    }

    fn query_blockstats(
        &mut self,
        arguments: QueryBlockstatsArguments,
    ) -> Result<Vec<BlockStats>, CommandError> {
        let of = match arguments.query_nodes {
            Some(true) => MachineDisk::node_statistics,
            _ => MachineDisk::statistics,
        };
        Ok(self.disks.iter().map(of).collect())
    }

    fn query_named_block_nodes(
        &mut self,
        arguments: QueryNamedBlockNodesArguments,
    ) -> Result<Vec<BlockDeviceInfo>, CommandError> {
        let nesting = match arguments.flat {
            Some(true) => Nesting::Flat,
            _ => Nesting::Nested,
        };
        let nodes = |disk: &MachineDisk| disk.all_nodes(nesting);
        Ok(self.disks.iter().flat_map(nodes).collect())
    }

    /// Through [`Machine::stop_command`], whose answer waits for the disks; this is for whoever
    /// cannot wait.
    fn stop(&mut self) -> Result<(), CommandError> {
        Machine::stop(self, RunState::Paused);
        Ok(())
    }

    /// Through [`Machine::resize_command`], whose answer waits for the disk; as with `stop`.
    fn block_resize(&mut self, arguments: BlockResizeArguments) -> Result<(), CommandError> {
        let (disk, length) = self.resizable(&arguments)?;
        disk.resize(length, Box::new(|_| ()));
        Ok(())
    }

    fn block_set_io_throttle(&mut self, arguments: BlockIOThrottle) -> Result<(), CommandError> {
        self.limit(&arguments)
    }

    fn block_set_write_threshold(
        &mut self,
        arguments: BlockSetWriteThresholdArguments,
    ) -> Result<(), CommandError> {
        self.set_write_threshold(&arguments)
    }

    fn block_fault_add(&mut self, _: BlockFaultRule) -> Result<BlockFaultAdded, CommandError> {
        answered_later()
    }

    fn block_fault_remove(&mut self, _: BlockFaultRemoveArguments) -> Result<(), CommandError> {
        answered_later()
    }

    fn block_fault_clear(&mut self, _: BlockFaultClearArguments) -> Result<(), CommandError> {
        answered_later()
    }

    fn query_block_faults(&mut self) -> Result<Vec<BlockFaultInfo>, CommandError> {
        Ok(self.fault_infos())
    }

    fn block_fault_release(
        &mut self,
        _: BlockFaultReleaseArguments,
    ) -> Result<BlockFaultReleased, CommandError> {
        answered_later()
    }

    fn block_fault_set_state(
        &mut self,
        _: BlockFaultSetStateArguments,
    ) -> Result<(), CommandError> {
        answered_later()
    }

    fn block_power_cut(&mut self, _: BlockPowerCutArguments) -> Result<(), CommandError> {
        answered_later()
    }

    fn cont(&mut self) -> Result<(), CommandError> {
        match self.state {
            RunState::Running => Ok(()),
            // What QEMU calls a state that needs a reset.
            RunState::InternalError | RunState::Shutdown | RunState::GuestPanicked => Err(
                CommandError::generic("Resetting the Virtual Machine is required"),
            ),
            _ => {
                self.start();
                Ok(())
            }
        }
    }

    fn quit(&mut self) -> Result<(), CommandError> {
        self.quit_requested = true;
        Ok(())
    }

    fn system_reset(&mut self) -> Result<(), CommandError> {
        self.reset(ShutdownCause::HostQmpSystemReset, false);
        Ok(())
    }
}

/// What a disk's thread has a part in is answered by that thread: [`Machine::execute`] gives it the
/// reply.
fn answered_later<T>() -> Result<T, CommandError> {
    Err(CommandError::generic(
        "This command needs somebody who waits for its answer",
    ))
}
