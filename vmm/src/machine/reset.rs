//! Reset: the vCPUs end, then the disks come to rest, and a new virtual machine starts on the same
//! memory and devices. In this order: a vCPU that still runs could set a disk up again.

use faultvisor_schema::{CommandError, Event, RebootAction, Reply, Reset, RunState, ShutdownCause};

use super::Machine;
use super::transition::{Deferred, Resetting};
use crate::boot::{BootError, Placed};
use crate::inbox::Notice;
use crate::memory;
use crate::vcpu::Generation;
use crate::vm::{Vm, VmError};

/// Why a machine did not start.
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
    /// Resets the machine for a command, behind those that wait, and answers when it has been reset.
    pub(super) fn reset_in_turn(&mut self, reason: ShutdownCause, reply: Reply<()>) {
        if self.transitions.has_undone() || self.transitions.is_losing_power() {
            self.defer(Deferred::Reset(reason, reply));
        } else {
            self.reset(reason, false, Some(reply));
        }
    }

    /// Resets the machine, or ends it where that is what a reset does (`--no-reboot`). It must neither be being reset nor
    /// lose its power.
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

    /// No vCPU can touch a device any more.
    fn reset_devices(&mut self) {
        let Some(phase) = self.transitions.begin_resetting_devices() else {
            return;
        };
        let is_reset = self.sender.promise(Notice::PhaseEnded(phase)).shared();
        self.platform.devices.reset(&is_reset);
    }

    /// Starts the new virtual machine: nothing of the old one is at work any more.
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
        // Pulses of the old machine mean nothing to the new one.
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
                // What the host refuses now it may grant at the next reset.
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

    /// Makes a virtual machine anew.
    fn build(&mut self) -> Result<(), StartError> {
        let (placed, loading) = self.images.load(&self.platform.memory)?;
        let built = self.build_around(placed);
        // Whatever became of the rest: nothing must write to memory any more when this ends.
        loading.finish()?;
        built
    }

    /// Makes a virtual machine while its images are on their way to their places. It must not run before they are there.
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
                // What vCPUs say that had started already is about nothing that there is.
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
