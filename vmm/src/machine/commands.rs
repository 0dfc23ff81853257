//! The machine's commands: how they reach the main thread, and what each does.

use faultvisor_schema::{
    BlockDeviceInfo, BlockFaultAdded, BlockFaultClearArguments, BlockFaultInfo,
    BlockFaultReleaseArguments, BlockFaultReleased, BlockFaultRemoveArguments, BlockFaultRule,
    BlockFaultSetStateArguments, BlockIOThrottle, BlockInfo, BlockPowerCutArguments,
    BlockResizeArguments, BlockSetWriteThresholdArguments, BlockStats, CommandError, CpuInfoFast,
    CpuInstanceProperties, Event, IOThreadInfo, KvmInfo, MachineCommand, MachineCommands,
    MachineReturn, MemoryInfo, NameInfo, QueryBlockstatsArguments, QueryNamedBlockNodesArguments,
    Reply, SetActionArguments, ShutdownCause, StatusInfo, SysEmuTarget, VsockInfo,
};

use super::Machine;
use super::disks::MachineDisk;
use super::nodes::Nesting;
use super::view::{self, View};
use super::vsock::MachineVsock;
use crate::inbox::{Notice, Sender};
use crate::memory;
use crate::vcpu::Vcpus;
use crate::vm::Vm;

/// The monitor's access to the machine.
pub struct Link {
    inbox: Sender,
    view: View,
}

impl Link {
    /// Makes a link to the main thread's queue and to the published state.
    pub fn new(inbox: Sender, view: View) -> Self {
        Self { inbox, view }
    }
}

impl faultvisor_monitor::Machine for Link {
    fn submit(&self, command: MachineCommand, reply: Reply<MachineReturn>) {
        self.inbox.send(Notice::Command(command, reply));
    }

    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn> {
        self.view.answer(command)
    }

    fn has_device(&self, name: &str) -> bool {
        self.view.has_disk(name)
    }

    fn is_current(&self, event: &Event) -> bool {
        self.view.is_current(event)
    }
}

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

    fn stop(&mut self, reply: Reply<()>) {
        self.stop_command(reply);
    }

    fn block_resize(&mut self, arguments: BlockResizeArguments, reply: Reply<()>) {
        self.resize_command(&arguments, reply);
    }

    fn block_set_io_throttle(&mut self, arguments: BlockIOThrottle, reply: Reply<()>) {
        let reply = self.owed.lend(reply);
        self.limit_command(&arguments, reply);
    }

    fn block_set_write_threshold(
        &mut self,
        arguments: BlockSetWriteThresholdArguments,
    ) -> Result<(), CommandError> {
        self.set_write_threshold(&arguments)
    }

    fn block_fault_add(&mut self, rule: BlockFaultRule, reply: Reply<BlockFaultAdded>) {
        let reply = self.owed.lend(reply);
        self.fault_add(rule, reply);
    }

    fn block_fault_remove(&mut self, arguments: BlockFaultRemoveArguments, reply: Reply<()>) {
        let reply = self.owed.lend(reply);
        self.fault_remove(arguments, reply);
    }

    fn block_fault_clear(&mut self, arguments: BlockFaultClearArguments, reply: Reply<()>) {
        let reply = self.owed.lend(reply);
        self.fault_clear(&arguments, reply);
    }

    fn query_block_faults(&mut self) -> Result<Vec<BlockFaultInfo>, CommandError> {
        Ok(self.fault_infos())
    }

    fn block_fault_release(
        &mut self,
        arguments: BlockFaultReleaseArguments,
        reply: Reply<BlockFaultReleased>,
    ) {
        let reply = self.owed.lend(reply);
        self.fault_release(arguments, reply);
    }

    fn block_fault_set_state(&mut self, arguments: BlockFaultSetStateArguments, reply: Reply<()>) {
        let reply = self.owed.lend(reply);
        self.fault_set_state(arguments, reply);
    }

    fn block_power_cut(&mut self, arguments: BlockPowerCutArguments, reply: Reply<()>) {
        self.power_cut_command(&arguments, reply);
    }

    fn cont(&mut self, reply: Reply<()>) {
        self.cont_command(reply);
    }

    fn quit(&mut self) -> Result<(), CommandError> {
        self.end(ShutdownCause::HostQmpQuit);
        Ok(())
    }

    fn system_reset(&mut self, reply: Reply<()>) {
        self.reset_in_turn(ShutdownCause::HostQmpSystemReset, reply);
    }

    fn system_powerdown(&mut self) -> Result<(), CommandError> {
        let Some(button) = &self.power_button else {
            let message = "The machine was started with --no-acpi and has no power button";
            return Err(CommandError::generic(message));
        };
        self.signals.raise(Event::Powerdown);
        // Fails only when the button is already pressed.
        let _ = button.press();
        Ok(())
    }

    fn set_action(&mut self, arguments: SetActionArguments) -> Result<(), CommandError> {
        let actions = &mut self.policy.actions;
        actions.reboot = arguments.reboot.unwrap_or(actions.reboot);
        actions.shutdown = arguments.shutdown.unwrap_or(actions.shutdown);
        actions.panic = arguments.panic.unwrap_or(actions.panic);
        // No watchdog device: `arguments.watchdog` has no effect.
        Ok(())
    }

    fn query_cpus_fast(&mut self) -> Result<Vec<CpuInfoFast>, CommandError> {
        let vcpus = self.vm.as_ref().map(Vm::vcpus);
        let ids = vcpus.into_iter().flat_map(Vcpus::thread_ids);
        Ok((0..).zip(ids).map(cpu_info).collect())
    }

    fn query_memory_size_summary(&mut self) -> Result<MemoryInfo, CommandError> {
        Ok(MemoryInfo {
            base_memory: memory::size(&self.platform.memory),
            plugged_memory: Some(0),
        })
    }

    fn query_vsock(&mut self) -> Result<Vec<VsockInfo>, CommandError> {
        Ok(self.vsock.iter().map(MachineVsock::info).collect())
    }

    fn query_iothreads(&mut self) -> Result<Vec<IOThreadInfo>, CommandError> {
        Ok(self.disks.iter().map(MachineDisk::thread_info).collect())
    }
}

/// A vCPU and its thread. Each is a core of one package.
fn cpu_info((index, thread_id): (i64, i32)) -> CpuInfoFast {
    CpuInfoFast {
        cpu_index: index,
        qom_path: format!("/machine/unattached/device[{index}]"),
        thread_id: thread_id.into(),
        props: Some(CpuInstanceProperties {
            socket_id: Some(0),
            core_id: Some(index),
            thread_id: Some(0),
        }),
        target: SysEmuTarget::X8664,
    }
}
