//! Stopping and continuing.
//!
//! The machine goes on only when its disks are at rest. A request that was on its way to the host when the machine stopped
//! may still fail: its error belongs to the run that is over, and what a client does about errors before it continues is
//! to be about that one, too.
//!
//! Each command is answered when it is done, after the event that tells of it. One that would overtake a reset, or another
//! that waits, waits as well: whatever the sessions, there is one order, as in QEMU.

use faultvisor_devices::life_cycle::Run;
use faultvisor_schema::{CommandError, Event, Reply, RunState, ShutdownCause};

use super::Machine;
use super::disks::MachineDisk;

/// A command that waits until no disk has anything in flight, and the machine is not being reset.
pub(super) enum Waiting {
    /// What has stopped the machine, and is answered then.
    Stopped(Reply<()>),
    /// A `stop` behind others that wait.
    Stop(Reply<()>),
    /// A `cont`.
    Cont(Reply<()>),
    /// A reset for this reason behind others that wait.
    Reset(ShutdownCause, Reply<()>),
}

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

    /// Begins a run.
    pub(super) fn start(&mut self) {
        self.state = RunState::Running;
        // Before anything can fail again: the client sees the error of the new run after it.
        self.signals.raise(Event::Resume);
        if self.resetting.is_none() {
            self.begin_run();
        }
    }

    /// Lets disks and vCPUs go.
    pub(super) fn begin_run(&mut self) {
        self.run = Run(self.run.0 + 1);
        for disk in &self.disks {
            disk.resume(self.run);
        }
        self.undrained = 0;
        if let Some(vm) = &mut self.vm {
            vm.resume();
        }
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
        self.pause_disks();
    }

    /// Brings the machine into a state that only a reset leads out of, whether or not it runs now.
    pub(super) fn halt(&mut self, state: RunState) {
        self.stop(state);
        self.state = state;
    }

    fn pause_disks(&mut self) {
        self.undrained = self.disks.len();
        for disk in &self.disks {
            disk.pause(self.run, &self.sender);
        }
    }

    /// A client's `stop`: answered when the images are at rest.
    pub(super) fn stop_command(&mut self, reply: Reply<()>) {
        if self.has_undone() {
            return self.waiting.push_back(Waiting::Stop(reply));
        }
        self.stop(RunState::Paused);
        self.answer_stopped(reply);
    }

    /// Answers when the images are at rest.
    pub(super) fn answer_stopped(&mut self, reply: Reply<()>) {
        self.waiting.push_back(Waiting::Stopped(reply));
        self.go_on_waiting();
    }

    /// A client's `cont`: done when the images are at rest.
    pub(super) fn cont_command(&mut self, reply: Reply<()>) {
        let must_wait = self.undrained > 0 && !self.needs_reset() || self.is_about_to_stop();
        if must_wait || self.has_undone() {
            self.waiting.push_back(Waiting::Cont(reply));
        } else {
            reply.send(self.go_on());
        }
    }

    /// Whether a command waits to be done, so that those after it have to wait, too.
    pub(super) fn has_undone(&self) -> bool {
        let is_undone = |waiting: &Waiting| !matches!(waiting, Waiting::Stopped(_));
        self.resetting.is_some() || self.waiting.iter().any(is_undone)
    }

    /// Whether an error or a rule that stops the machine has been told of, and the notice of it is still on its way. A client
    /// that answers the event with `cont` means the stop that follows: the machine goes on after that.
    fn is_about_to_stop(&self) -> bool {
        self.is_running() && self.disks.iter().any(MachineDisk::stops_machine)
    }

    /// Lets the machine go on, if anything but a reset can.
    pub(super) fn go_on(&mut self) -> Result<(), CommandError> {
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

    /// Does what waits for the disks, in its order, as long as they are at rest.
    pub(super) fn go_on_waiting(&mut self) {
        // What is left at the end is answered by the end of its replies.
        while self.ending.get().is_none()
            && self.undrained == 0
            && self.resetting.is_none()
            && let Some(waiting) = self.next_waiting()
        {
            match waiting {
                Waiting::Stopped(reply) => reply.done(),
                Waiting::Stop(reply) => {
                    self.stop(RunState::Paused);
                    self.waiting.push_front(Waiting::Stopped(reply));
                }
                Waiting::Cont(reply) => {
                    reply.send(self.go_on());
                }
                Waiting::Reset(reason, reply) => self.reset(reason, false, Some(reply)),
            }
        }
    }

    /// The next command whose turn it is.
    fn next_waiting(&mut self) -> Option<Waiting> {
        if matches!(self.waiting.front(), Some(Waiting::Cont(_))) && self.is_about_to_stop() {
            return None;
        }
        self.waiting.pop_front()
    }

    pub(super) fn disk_drained(&mut self, run: Run) {
        if run == self.run && self.undrained > 0 {
            self.undrained -= 1;
            self.go_on_waiting();
        }
    }

    /// A disk holds a request back. If the machine has been continued since, or reset, the request
    /// has been submitted again, or dropped, and the error is none any more.
    pub(super) fn disk_error(&mut self, run: Run) {
        if run == self.run && self.resetting.is_none() {
            self.stop(RunState::IoError);
        }
    }

    /// As [`Self::disk_error`], for a request that a rule holds back.
    pub(super) fn disk_stop(&mut self, run: Run) {
        if run == self.run && self.resetting.is_none() {
            self.stop(RunState::Paused);
        }
    }
}
