//! What reaches the main thread from the others: one queue, so that there is one order.

use std::io;
use std::sync::mpsc::{self, Receiver};

use faultvisor_devices::block::PowerCut;
use faultvisor_devices::block::fault::Then;
use faultvisor_devices::block::policy::Run;
use faultvisor_devices::legacy::GuestPanic;
use faultvisor_monitor::Reply;
use faultvisor_schema::{MachineCommand, ShutdownCause};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::vcpu::{Generation, VcpuExit};

/// One thing for the main thread to do.
#[derive(Debug)]
pub enum Notice {
    /// Everybody is there whom the machine is to wait for.
    PowerOn,
    /// A client's command.
    Command(MachineCommand, Reply),
    /// A vCPU cannot go on, or has ended as it was told to.
    Vcpu(Generation, VcpuExit),
    /// The guest has panicked. The vCPU that said so goes on when the sender in this is gone.
    GuestPanic(GuestPanic, mpsc::Sender<()>),
    /// A disk holds a request back because of an error in this run.
    DiskError(Run),
    /// A disk holds a request back because of a rule that stops the machine, in this run.
    DiskStop(Run),
    /// A rule has cut a disk's power.
    PowerFailed {
        /// The disk.
        device: String,
        /// How.
        cut: PowerCut,
        /// What the machine does then.
        then: Then,
    },
    /// A disk that was told to lose its power has got it back.
    DiskPowerBack,
    /// A disk that was told to pause in this run has nothing in flight.
    DiskDrained(Run),
    /// A disk has been reset.
    DiskReset(Generation),
    /// A disk's thread is about to end.
    DiskClosed,
    /// The user, or the host, wants the program to end.
    End(ShutdownCause),
}

/// The sending side; any thread may have one.
#[derive(Debug)]
pub struct Sender {
    queue: mpsc::Sender<Notice>,
    wake: EventFd,
}

impl Sender {
    /// Sends a notice. Once the main thread has ended nobody hears it, and nobody needs to.
    pub fn send(&self, notice: Notice) {
        let _ = self.queue.send(notice);
        let _ = self.wake.write(1);
    }

    /// Another sender to the same queue.
    ///
    /// # Errors
    ///
    /// When the host has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            queue: self.queue.clone(),
            wake: self.wake.try_clone()?,
        })
    }
}

/// The receiving side.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Notice>,
    wake: EventFd,
}

impl Inbox {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// When the host refuses an eventfd.
    pub fn new() -> io::Result<(Self, Sender)> {
        let wake = EventFd::new(EFD_NONBLOCK)?;
        let (sender, queue) = mpsc::channel();
        let sender = Sender {
            queue: sender,
            wake: wake.try_clone()?,
        };
        Ok((Self { queue, wake }, sender))
    }

    /// Readable while there may be something.
    pub fn event(&self) -> &EventFd {
        &self.wake
    }

    /// Makes the event unreadable until something new is sent. Take everything after it.
    pub fn clear_event(&self) {
        let _ = self.wake.read();
    }

    /// The next notice, if there is one.
    pub fn next(&self) -> Option<Notice> {
        self.queue.try_recv().ok()
    }

    /// The next notice, or nothing at `deadline`.
    pub fn next_until(&self, deadline: std::time::Instant) -> Option<Notice> {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        self.queue.recv_timeout(left).ok()
    }
}
