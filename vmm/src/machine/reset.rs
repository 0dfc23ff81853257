//! Reset: the vCPUs end, then the disks drain and reset, and a new virtual machine starts on the same memory and
//! devices. The order matters: a running vCPU could activate a disk again.

use faultvisor_schema::{CommandError, Event, RebootAction, Reply, Reset, RunState, ShutdownCause};

use super::Machine;
use super::transition::{Deferred, Resetting};
use crate::boot::{BootError, Placed};
use crate::inbox::Notice;
use crate::memory;
use crate::vcpu::Generation;
use crate::vm::{Vm, VmError};

/// A machine that did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// KVM.
    #[error(transparent)]
    Vm(#[from] VmError),
}

impl Machine {
    /// Resets the machine for a command, behind deferred ones, and answers when the reset is complete.
    pub(super) fn reset_in_turn(&mut self, reason: ShutdownCause, reply: Reply<()>) {
        if self.transitions.has_undone() || self.transitions.is_losing_power() {
            self.defer(Deferred::Reset(reason, reply));
        } else {
            self.reset(reason, false, Some(reply));
        }
    }

    /// Resets the machine, or ends it where that is the action on reset (`--no-reboot`). No reset or power failure may
    /// be under way.
    pub(super) fn reset(&mut self, reason: ShutdownCause, guest: bool, reply: Option<Reply<()>>) {
        if guest {
            self.tell_of_untaken_disks();
        }
        if self.policy.actions.reboot == RebootAction::Shutdown {
            self.shut_down(reason, guest);
            return reply.map_or((), Reply::done);
        }
        let vcpus = self.vm.as_ref().map_or(0, |vm| {
            vm.vcpus().end();
            vm.vcpus().count()
        });
        let reset = Resetting {
            reason,
            guest,
            reply,
            power_failure: None,
        };
        self.transitions.begin_reset(reset, vcpus);
        if vcpus == 0 {
            self.reset_devices();
        }
    }

    pub(super) fn vcpu_ended(&mut self) {
        if self.transitions.vcpu_ended() {
            self.reset_devices();
        }
    }

    /// Resets the devices. No vCPU accesses them any more.
    fn reset_devices(&mut self) {
        let Some(phase) = self.transitions.begin_resetting_devices() else {
            return;
        };
        let is_reset = self.sender.promise(Notice::PhaseEnded(phase)).shared();
        self.platform.devices.reset(&is_reset);
    }

    /// Starts the new virtual machine. Nothing of the old one runs any more.
    pub(super) fn finish_reset(&mut self, reset: Resetting) {
        let Resetting {
            reason,
            guest,
            reply,
            power_failure,
        } = reset;
        if let Some(vm) = self.vm.take() {
            vm.close();
        }
        // Discards pulses of the old virtual machine.
        let _ = self.reset_line.read();
        let _ = self.power_off.read();
        self.platform.devices.clear_interrupts();
        memory::clear(&self.platform.memory, &self.platform.backing);
        let built = self.build();
        self.signals.raise(Event::Reset(Reset { guest, reason }));
        let answer = match built {
            Ok(()) => {
                if !self.is_running() {
                    self.state = RunState::Prelaunch;
                }
                Ok(())
            }
            Err(error) => {
                // The host may grant at the next reset what it refuses now.
                let message = format!("the machine cannot start again: {error}");
                tracing::error!("{message}");
                self.fail();
                Err(CommandError::generic(message))
            }
        };
        if let Some(reply) = reply {
            reply.send(answer);
        }
        if let Some(failure) = power_failure {
            self.power_fails_after_reset(&failure);
        }
        self.settle();
    }

    /// Makes a new virtual machine.
    fn build(&mut self) -> Result<(), StartError> {
        let (placed, loading) = self.images.load(&self.platform.memory)?;
        let built = self.build_around(placed);
        // On errors too: nothing may write to memory after this returns.
        loading.finish()?;
        built
    }

    /// Makes a virtual machine while its images load. It must not run before they are loaded.
    pub(super) fn build_around(&mut self, placed: Placed) -> Result<(), StartError> {
        let entry = self.guest.describe(&self.platform.memory, placed)?;
        self.next_generation();
        match Vm::new(
            &self.kvm,
            &self.platform,
            entry,
            self.generation,
            &self.sender,
        ) {
            Ok(vm) => self.vm = Some(vm),
            Err(error) => {
                // Notices of vCPUs that had already started are stale.
                self.next_generation();
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn next_generation(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
    }
}
