//! Stopping and continuing.
//!
//! The machine resumes only after its disks have drained. A request in flight when the machine stopped may still fail:
//! its error belongs to the run that has ended, and is reported before a client's `cont` takes effect.
//!
//! Each command is answered when it is complete, after its event. A command that would overtake a reset or a deferred
//! command is deferred too: there is one order for all sessions, as in QEMU.

use faultvisor_devices::life_cycle::Run;
use faultvisor_schema::{CommandError, Event, Reply, RunState};

use super::Machine;
use super::disks::MachineDisk;
use super::transition::{Deferred, Phase, Reached};
use crate::inbox::Notice;
use crate::vm::Vm;

impl Machine {
    pub(super) fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    /// Starts the guest, or leaves it before its first instruction (`-S`). A client may already have started it.
    pub(super) fn power_on(&mut self) {
        if !self.policy.start_stopped && self.state == RunState::Prelaunch {
            self.start();
        }
    }

    /// Continues the guest: at once, or when the transition under way has ended.
    pub(super) fn start(&mut self) {
        self.state = RunState::Running;
        // Precedes the run: a client sees the errors of the new run after it.
        self.signals.raise(Event::Resume);
        if self.transitions.is_settled() {
            self.begin_run();
        }
    }

    /// Resumes devices and vCPUs.
    fn begin_run(&mut self) {
        let Some(vm) = &mut self.vm else { return };
        self.run = Run(self.run.0 + 1);
        self.platform.devices.resume(self.run);
        vm.resume();
    }

    /// Stops the guest for a reason, if it runs.
    pub(super) fn stop(&mut self, reason: RunState) {
        if !self.is_running() {
            return;
        }
        if let Some(vm) = &mut self.vm {
            vm.pause();
        }
        self.state = reason;
        self.signals.raise(Event::Stop);
        self.pause_devices();
    }

    /// Enters a state that only a reset leaves, whether or not the machine runs.
    pub(super) fn halt(&mut self, state: RunState) {
        self.stop(state);
        self.state = state;
    }

    fn pause_devices(&mut self) {
        let phase = self.transitions.begin_draining();
        let drained = self.sender.promise(Notice::PhaseEnded(phase)).shared();
        self.platform.devices.pause(&drained);
    }

    /// A client's `stop`, answered when the disks have drained.
    pub(super) fn stop_command(&mut self, reply: Reply<()>) {
        if self.transitions.has_undone() {
            return self.defer(Deferred::Stop(reply));
        }
        self.stop(RunState::Paused);
        self.defer(Deferred::Stopped(reply));
        self.do_deferred();
    }

    /// A client's `cont`, executed when the disks have drained.
    pub(super) fn cont_command(&mut self, reply: Reply<()>) {
        let must_wait = !self.transitions.is_settled() && !self.needs_reset();
        if must_wait || self.is_about_to_stop() || self.transitions.has_undone() {
            self.defer(Deferred::Cont(reply));
        } else {
            reply.send(self.go_on());
        }
    }

    /// Appends a command to the deferred ones.
    pub(super) fn defer(&mut self, command: Deferred) {
        self.transitions.deferred.push_back(command);
    }

    /// Whether a disk has raised the event of an error or a rule that stops the machine, and its notice is still
    /// queued. A `cont` in response to the event refers to the stop that follows: the machine resumes after that.
    fn is_about_to_stop(&self) -> bool {
        self.is_running() && self.disks.iter().any(MachineDisk::stops_machine)
    }

    /// Lets the machine resume, unless its state needs a reset.
    fn go_on(&mut self) -> Result<(), CommandError> {
        if self.needs_reset() {
            let message = "Resetting the Virtual Machine is required";
            return Err(CommandError::generic(message));
        }
        if !self.is_running() {
            self.start();
        }
        Ok(())
    }

    /// As in QEMU. A panicked guest may continue.
    fn needs_reset(&self) -> bool {
        matches!(self.state, RunState::InternalError | RunState::Shutdown)
    }

    /// Handles a possible end of a transition: resumes a machine that was continued meanwhile, and executes deferred
    /// commands.
    pub(super) fn settle(&mut self) {
        let has_ended = self.ending.get().is_some();
        let is_paused = self.vm.as_ref().is_some_and(Vm::is_paused);
        if self.transitions.is_settled() && self.is_running() && is_paused && !has_ended {
            self.begin_run();
        }
        self.do_deferred();
    }

    /// Executes deferred commands in order, while no transition is under way.
    fn do_deferred(&mut self) {
        // At the end of the program, dropping the replies answers the rest.
        while self.ending.get().is_none()
            && self.transitions.is_settled()
            && let Some(command) = self.next_deferred()
        {
            match command {
                Deferred::Stopped(reply) => reply.done(),
                Deferred::Stop(reply) => {
                    self.stop(RunState::Paused);
                    self.transitions
                        .deferred
                        .push_front(Deferred::Stopped(reply));
                }
                Deferred::Cont(reply) => reply.send(self.go_on()),
                Deferred::Reset(reason, reply) => self.reset(reason, false, Some(reply)),
                Deferred::GuestReset(generation) if generation == self.generation => {
                    self.guest_reset();
                }
                // An earlier reset has already reset that virtual machine.
                Deferred::GuestReset(_) => {}
            }
        }
    }

    /// The next deferred command that can be executed.
    fn next_deferred(&mut self) -> Option<Deferred> {
        let deferred = &self.transitions.deferred;
        if matches!(deferred.front(), Some(Deferred::Cont(_))) && self.is_about_to_stop() {
            return None;
        }
        self.transitions.deferred.pop_front()
    }

    /// Handles the end of a phase.
    pub(super) fn phase_ended(&mut self, phase: Phase) {
        match self.transitions.phase_ended(phase) {
            Some(Reached::Drained) => self.settle(),
            Some(Reached::PowerBack(outage)) => self.power_is_back(outage),
            Some(Reached::Reset(reset)) => self.finish_reset(reset),
            None => {}
        }
    }

    /// Handles an error whose request a disk holds. The notice is stale if the machine has been continued or reset
    /// since: the request has been resubmitted or dropped.
    pub(super) fn disk_error(&mut self, run: Run) {
        if run == self.run && !self.transitions.is_resetting() {
            self.stop(RunState::IoError);
        }
    }

    /// As [`Self::disk_error`], for a request that a rule holds.
    pub(super) fn disk_stop(&mut self, run: Run) {
        if run == self.run && !self.transitions.is_resetting() {
            self.stop(RunState::Paused);
        }
    }
}
