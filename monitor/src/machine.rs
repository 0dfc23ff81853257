//! The machine, from the monitor's side.

use faultvisor_schema::{Event, MachineCommand, MachineReturn};

/// Takes the answer to a command that the machine executes.
pub type Reply = faultvisor_schema::Reply<MachineReturn>;

/// Executes the commands that the monitor does not.
///
/// All methods are called on the monitor's thread and must not block it.
pub trait Machine: Send + 'static {
    /// Takes a command to be executed, in any thread, now or later. Its answer goes to `reply`.
    ///
    /// A session's next in-band command is submitted after the answer to the one before.
    fn submit(&self, command: MachineCommand, reply: Reply);

    /// Answers a query, if this is possible without waiting. The answer must not be older than the events raised
    /// before.
    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn>;

    /// Whether there is a device of this name.
    fn has_device(&self, name: &str) -> bool;

    /// Whether the state that an event reported still holds, for a late subscriber: for `STOP`, that the machine does
    /// not run; for `BLOCK_IO_ERROR`, that the disk's io-status is not ok.
    fn is_current(&self, event: &Event) -> bool;
}
