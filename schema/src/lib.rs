//! The schema: generated types, dispatch and signals.
//!
//! What is on the wire is defined in `qapi/*.json` and nowhere else. The generator makes of each definition:
//!
//! * of a type, one that encodes itself ([`serde::Serialize`]) and decodes itself ([`Decode`], with errors for people;
//!   [`serde::Deserialize`], faster, with a few liberties that nobody takes who keeps to the schema): an enum or a struct as
//!   it is, a union as a struct with an enum of its branches, an alternate as an enum,
//! * of an event, a variant of [`Event`] and of [`SignalName`], a [`Signal`] in [`Signals`], and the command that connects
//!   to it,
//! * of a command, a variant of [`MachineCommand`] or [`MonitorCommand`], a method of [`MachineCommands`] or
//!   [`MonitorCommands`], and an entry of [`COMMANDS`]; the method of a command that takes time (`'coroutine': true`) gets
//!   a [`Reply`] to answer by.
//!
//! and of all of them together the answer to `query-qmp-schema` ([`introspection()`]).
//!
//! Beside it stand the few types that no schema can define: how a command fails ([`CommandError`]) and how decoding
//! names what it refuses ([`Path`]).

mod command;
mod decode;
mod error;
mod introspection;
mod reply;
mod signal;

#[cfg(test)]
mod language;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

pub use command::{AccessorArguments, Arguments, CommandEntry, CommandOwner, Empty, Null};
pub use decode::{Decode, Members, Path};
pub use error::{CommandError, ErrorClass};
pub use generated::*;
pub use introspection::introspection;
pub use reply::Reply;
pub use signal::{Connection, Signal};

use command::{accessor_arguments, arguments, no_arguments};
use decode::one_of;
