//! The machine: its parts, and its run state, which the main thread owns.
//!
//! Everything that changes the run state arrives as a [`Notice`] in one queue, and is handled to completion before the
//! next. Nothing here blocks on a disk or on a vCPU that is busy with a device: long operations are started, and their
//! end is another notice.

mod assembly;
mod commands;
mod disks;
mod faults;
mod limits;
mod nodes;
mod owed;
mod panic;
mod power_cut;
mod reset;
mod resize;
mod running;
mod statistics;
mod transition;
mod untaken;
mod view;
mod vsock;

use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use faultvisor_devices::legacy::PowerButton;
use faultvisor_devices::life_cycle::Run;
use faultvisor_schema::{
    Event, PanicAction, RunState, Shutdown, ShutdownAction, ShutdownCause, Signals,
};
use kvm_ioctls::Kvm;
use vmm_sys_util::eventfd::EventFd;

use crate::boot::{Guest, Images};
use crate::cli::Actions;
use crate::inbox::{Inbox, Notice, Sender};
use crate::vcpu::{Generation, VcpuExit};
use crate::vm::{Platform, Vm};
pub use assembly::{AssemblyError, Plan};
pub use commands::Link;
use disks::MachineDisk;
use faults::Rules;
use owed::Owed;
use resize::Resizing;
pub use transition::Phase;
use transition::{Deferred, PowerFailure, Transitions};
use view::View;
use vsock::MachineVsock;

/// How long the end of the program waits for requests in flight, which were never completed to the guest. Data whose
/// writes were completed is waited for without a limit.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The machine's actions at the guest's start, reset, panic and shutdown.
#[derive(Debug, Clone, Copy)]
pub struct RunPolicy {
    /// `-S`.
    pub start_stopped: bool,
    /// Set by `--action`, its short forms and `set-action`.
    pub actions: Actions,
    /// Whether a monitor is configured, through which a client can continue or end the machine.
    pub has_monitor: bool,
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The guest shut down, or the user, a client or the host requested the end.
    Orderly,
    /// The guest cannot continue, and there is no monitor to inspect it through.
    Failed,
    /// As [`Self::Orderly`], but for rules that never fired (`--fault-unfired fail`).
    Unfired,
}

impl Ending {
    /// The ending of a machine with rules that should have fired and did not.
    pub fn with_unfired_rules(self) -> Self {
        match self {
            Self::Orderly => Self::Unfired,
            other => other,
        }
    }
}

/// The machine.
pub struct Machine {
    view: View,
    policy: RunPolicy,
    kvm: Kvm,
    platform: Platform,
    images: Arc<Images>,
    guest: Guest,
    disks: Vec<MachineDisk>,
    vsock: Option<MachineVsock>,
    rules: Rules,
    /// Whether untaken disks are still to be reported.
    tells_of_untaken_disks: bool,
    vm: Option<Vm>,
    generation: Generation,
    state: RunState,
    run: Run,
    transitions: Transitions,
    resizing: Resizing,
    /// Replies held by disks' threads.
    owed: Owed,
    signals: Signals,
    inbox: Inbox,
    sender: Sender,
    /// The guest pulsed the reset line.
    reset_line: EventFd,
    /// The guest powered off.
    power_off: EventFd,
    /// None without ACPI.
    power_button: Option<Arc<PowerButton>>,
    /// A signal of the host that asks for the end.
    host_signal: UnixStream,
    ending: Rc<Cell<Option<Ending>>>,
}

impl Machine {
    /// The program's ending, once it is decided.
    pub fn ending(&self) -> Rc<Cell<Option<Ending>>> {
        self.ending.clone()
    }

    fn vcpu_exit(&mut self, generation: Generation, exit: VcpuExit) {
        if generation != self.generation {
            return;
        }
        match exit {
            VcpuExit::Ended => self.vcpu_ended(),
            VcpuExit::TripleFault | VcpuExit::Reset => self.guest_reset(),
            VcpuExit::PowerOff => self.guest_power_off(),
            VcpuExit::Failed(reason) => {
                tracing::error!("the guest cannot go on: {reason}");
                self.fail();
            }
        }
    }

    /// Handles a guest that cannot continue: it is kept for a client to inspect. Without a monitor, the program ends.
    fn fail(&mut self) {
        self.halt(RunState::InternalError);
        if !self.policy.has_monitor {
            self.ending.set(Some(Ending::Failed));
        }
    }

    /// Handles a reset by the guest. As in QEMU, a guest that has been stopped since is reset too, so that the vCPU
    /// that waits for the reset does not wait forever.
    fn guest_reset(&mut self) {
        if self.state == RunState::Shutdown || self.transitions.is_resetting() {
            return;
        }
        if self.transitions.is_losing_power() {
            self.defer(Deferred::GuestReset(self.generation));
        } else {
            self.reset(ShutdownCause::GuestReset, true, None);
        }
    }

    /// The guest powered off.
    fn guest_power_off(&mut self) {
        if !self.transitions.is_resetting() && self.state != RunState::Shutdown {
            self.shut_down(ShutdownCause::GuestShutdown, true);
        }
    }

    /// Handles a shutdown: ends the program, unless the machine is kept for a client to inspect (`--no-shutdown`).
    fn shut_down(&mut self, reason: ShutdownCause, guest: bool) {
        self.tell_of_untaken_disks();
        self.signals
            .raise(Event::Shutdown(Shutdown { guest, reason }));
        let actions = self.policy.actions;
        if actions.shutdown == ShutdownAction::Pause {
            self.halt(RunState::Shutdown);
        } else if reason == ShutdownCause::GuestPanic && actions.panic == PanicAction::ExitFailure {
            self.ending.set(Some(Ending::Failed));
        } else {
            self.ending.set(Some(Ending::Orderly));
        }
    }

    /// Ends the program, regardless of the guest.
    fn end(&mut self, reason: ShutdownCause) {
        // A client that quits early does so on purpose: no report of untaken disks.
        if reason != ShutdownCause::HostQmpQuit && self.run != Run::default() {
            self.tell_of_untaken_disks();
        }
        let guest = false;
        self.signals
            .raise(Event::Shutdown(Shutdown { guest, reason }));
        self.ending.set(Some(Ending::Orderly));
    }

    fn handle(&mut self, notice: Notice) {
        match notice {
            Notice::PowerOn => self.power_on(),
            Notice::Command(command, reply) => command.execute(self, reply),
            Notice::Vcpu(generation, exit) => self.vcpu_exit(generation, exit),
            Notice::GuestPanic(panic, hold) => {
                self.guest_panicked(panic);
                drop(hold);
            }
            Notice::DiskError(run) => self.disk_error(run),
            Notice::DiskStop(run) => self.disk_stop(run),
            Notice::PowerFailed { device, cut, then } => {
                self.power_failed(PowerFailure { device, cut, then });
            }
            Notice::PhaseEnded(phase) => self.phase_ended(phase),
            Notice::DiskResized(ticket, result) => self.disk_resized(ticket, result),
            Notice::PartClosed => {}
            Notice::End(reason) => self.end(reason),
        }
    }

    /// Ends vCPUs and devices, within a time limit.
    pub fn close(mut self) {
        if let Some(vm) = &self.vm {
            vm.vcpus().end();
        }
        let mut deadline = Instant::now() + CLOSE_PATIENCE;
        let mut open = self.platform.devices.close(&self.sender);
        while open > 0 {
            match self.inbox.next_until(deadline) {
                Some(Notice::PartClosed) => open -= 1,
                Some(Notice::DiskResized(ticket, result)) => self.disk_resized(ticket, result),
                // Dropping a command's reply answers it with an error, as dropping the deferred commands does.
                Some(_) => {}
                None if self.disks.iter().all(MachineDisk::is_at_rest) => {
                    tracing::warn!("{open} disks are still being written");
                    deadline = Instant::now() + CLOSE_PATIENCE;
                }
                None => {
                    tracing::warn!("{open} disks still have requests in flight");
                    // Their threads cannot be joined, and end with the process.
                    std::mem::forget(self.disks);
                    return;
                }
            }
        }
    }
}

impl MutEventSubscriber for Machine {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let result = [
            Events::new(self.inbox.event(), EventSet::IN),
            Events::new(&self.reset_line, EventSet::IN),
            Events::new(&self.power_off, EventSet::IN),
            Events::new(&self.host_signal, EventSet::IN),
        ]
        .into_iter()
        .try_for_each(|events| ops.add(events));
        if let Err(error) = result {
            tracing::error!(%error, "the main loop");
            self.ending.set(Some(Ending::Failed));
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        self.change(|machine| machine.process_event(events.fd()));
    }
}

impl Machine {
    /// Executes something that may change the run state, and then publishes the state.
    fn change(&mut self, act: impl FnOnce(&mut Self)) {
        let view = self.view.clone();
        let mut published = view.change();
        act(self);
        *published = Some(self.state);
    }

    fn process_event(&mut self, fd: RawFd) {
        // An earlier notice of the same wakeup may have ended the machine.
        if self.ending.get().is_some() {
            return;
        }
        if fd == self.inbox.event().as_raw_fd() {
            self.inbox.clear_event();
            while self.ending.get().is_none()
                && let Some(notice) = self.inbox.next()
            {
                self.handle(notice);
            }
        } else if fd == self.reset_line.as_raw_fd() {
            let _ = self.reset_line.read();
            self.guest_reset();
        } else if fd == self.power_off.as_raw_fd() {
            let _ = self.power_off.read();
            self.guest_power_off();
        } else {
            self.end(ShutdownCause::HostSignal);
        }
    }
}
