//! The QMP server.
//!
//! A [`Monitor`] listens where it is told to ([`ListenAddress`]), serves any number of clients in a thread of its own,
//! and hands what only the machine can do to a [`Machine`]. Events come from the schema's [`Signals`](faultvisor_schema::Signals).
//!
//! On the way in, bytes pass the `lexer` (where does a message end?), become a `request` (what is asked?), and are
//! checked against the schema by what is generated from it. A `session` answers in order; what the monitor knows itself
//! is in `executor`. The `protocol` of a session says how requests and answers are spelled: as QMP (`request`, `codec`)
//! or as JSON-RPC (`json_rpc`). On the way out, an event is encoded once in each form that somebody wants (`rendering`)
//! and put into the `output` of each session that the `registry` names, or of every one with default events, which
//! `throttle` thins; what all outputs hold together is bounded by a `budget`; a client that connects late is told what is `standing`. `objects` are what signals and answers
//! belong to for a client with class hints. `server` is the state all of that works on, `reactor` the loop, `inbox` the
//! one way in from other threads.
//!
//! Nothing here waits: not for a client, and not for the machine.

mod address;
mod budget;
mod codec;
mod executor;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod inbox;
mod inherited;
mod json;
mod json_rpc;
mod lexer;
mod listener;
mod monitor;
mod objects;
pub mod option_syntax;
mod output;
mod protocol;
mod reactor;
mod registry;
mod rendering;
mod request;
mod server;
mod session;
mod socket;
mod standing;
mod stdio;
mod stream;
mod tcp;
mod thread;
mod throttle;
pub mod unix_socket;
mod waiting;

pub use address::{AddressError, ListenAddress};
pub use inbox::Reply;
pub use inherited::InheritedError;
pub use json::Strict;
pub use monitor::{Monitor, MonitorBuilder, MonitorHandle, StartError};
pub use socket::{BindError, LocalAddress};
pub use thread::ThreadKind;

use faultvisor_schema::{Event, MachineCommand, MachineReturn};

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
