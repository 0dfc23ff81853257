//! Stopping and continuing.
//!
//! The machine goes on only when its disks are at rest. A request that was on its way to the host when the machine stopped
//! may still fail: its error belongs to the run that is over, and what a client does about errors before it continues is
//! to be about that one, too.
//!
//! Each command is answered when it is done, after the event that tells of it. One that would overtake a reset, or another
//! that waits, waits as well: whatever the sessions, there is one order, as in QEMU.

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

    /// Starts the guest, or leaves it before its first instruction (`-S`). A client may have started it already.
    pub(super) fn power_on(&mut self) {
        if !self.policy.start_stopped && self.state == RunState::Prelaunch {
            self.start();
        }
    }

    /// Continues the guest: now, or when what is under way has ended.
    pub(super) fn start(&mut self) {
        self.state = RunState::Running;
        // Before anything can fail again: the client sees the error of the new run after it.
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

    /// Brings the machine into a state that only a reset leads out of, whether or not it runs now.
    pub(super) fn halt(&mut self, state: RunState) {
        self.stop(state);
        self.state = state;
    }

    fn pause_devices(&mut self) {
        let phase = self.transitions.begin_draining();
        let drained = self.sender.promise(Notice::PhaseEnded(phase)).shared();
        self.platform.devices.pause(&drained);
    }

    /// A client's `stop`: answered when the images are at rest.
    pub(super) fn stop_command(&mut self, reply: Reply<()>) {
        if self.transitions.has_undone() {
            return self.defer(Deferred::Stop(reply));
        }
        self.stop(RunState::Paused);
        self.defer(Deferred::Stopped(reply));
        self.do_deferred();
    }

    /// A client's `cont`: done when the images are at rest.
    pub(super) fn cont_command(&mut self, reply: Reply<()>) {
        let must_wait = !self.transitions.is_settled() && !self.needs_reset();
        if must_wait || self.is_about_to_stop() || self.transitions.has_undone() {
            self.defer(Deferred::Cont(reply));
        } else {
            reply.send(self.go_on());
        }
    }

    /// Puts a command behind those that wait.
    pub(super) fn defer(&mut self, command: Deferred) {
        self.transitions.deferred.push_back(command);
    }

    /// Whether an error or a rule that stops the machine has been told of, and the notice of it is still on its way. A client
    /// that answers the event with `cont` means the stop that follows: the machine goes on after that.
    fn is_about_to_stop(&self) -> bool {
        self.is_running() && self.disks.iter().any(MachineDisk::stops_machine)
    }

    /// Lets the machine go on, if anything but a reset can.
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

    /// As QEMU has it. A guest that has panicked may have more to say.
    fn needs_reset(&self) -> bool {
        matches!(self.state, RunState::InternalError | RunState::Shutdown)
    }

    /// A transition may have ended: resumes a machine that has been continued meanwhile, and does what waits.
    pub(super) fn settle(&mut self) {
        let has_ended = self.ending.get().is_some();
        let is_paused = self.vm.as_ref().is_some_and(Vm::is_paused);
        if self.transitions.is_settled() && self.is_running() && is_paused && !has_ended {
            self.begin_run();
        }
        self.do_deferred();
    }

    /// Does the commands that wait, in their order, while nothing is under way.
    fn do_deferred(&mut self) {
        // What is left at the end is answered by the end of its replies.
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
                // Another reset has been in time.
                Deferred::GuestReset(_) => {}
            }
        }
    }

    /// The next command whose turn it is.
    fn next_deferred(&mut self) -> Option<Deferred> {
        let deferred = &self.transitions.deferred;
        if matches!(deferred.front(), Some(Deferred::Cont(_))) && self.is_about_to_stop() {
            return None;
        }
        self.transitions.deferred.pop_front()
    }

    /// The end of what a transition waits for.
    pub(super) fn phase_ended(&mut self, phase: Phase) {
        match self.transitions.phase_ended(phase) {
            Some(Reached::Drained) => self.settle(),
            Some(Reached::PowerBack(outage)) => self.power_is_back(outage),
            Some(Reached::Reset(reset)) => self.finish_reset(reset),
            None => {}
        }
    }

    /// A disk holds a request back. If the machine has been continued since, or reset, the request
    /// has been submitted again, or dropped, and the error is none any more.
    pub(super) fn disk_error(&mut self, run: Run) {
        if run == self.run && !self.transitions.is_resetting() {
            self.stop(RunState::IoError);
        }
    }

    /// As [`Self::disk_error`], for a request that a rule holds back.
    pub(super) fn disk_stop(&mut self, run: Run) {
        if run == self.run && !self.transitions.is_resetting() {
            self.stop(RunState::Paused);
        }
    }
}
