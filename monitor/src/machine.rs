//! The machine, as the monitor sees it.

use faultvisor_schema::{Event, MachineCommand, MachineReturn};

/// Takes the answer to a command that the machine executes.
pub type Reply = faultvisor_schema::Reply<MachineReturn>;

/// What executes the commands that the monitor cannot answer itself.
///
/// All methods are called on the monitor's thread and must not block it.
pub trait Machine: Send + 'static {
    /// Takes a command to be executed, here or elsewhere, now or later. `reply` takes its answer.
    ///
    /// Of one session, no second in-band command comes before the first is answered.
    fn submit(&self, command: MachineCommand, reply: Reply);

    /// Answers a command that only asks, if that can be done without asking anybody else. The answer must not be older
    /// than the events that were raised before.
    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn>;

    /// Whether there is a device of that name.
    fn has_device(&self, name: &str) -> bool;

    /// Whether what an event told of is still so, for a client that connects now: a `STOP` if the machine does not run,
    /// a `BLOCK_IO_ERROR` if the disk's io-status is not ok.
    fn is_current(&self, event: &Event) -> bool;
}
