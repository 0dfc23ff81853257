//! The schema: generated types, dispatch and signals.
//!
//! The wire is defined in `qapi/*.json` and nowhere else. The generator turns each definition into Rust:
//!
//! * A type encodes itself ([`serde::Serialize`]) and decodes itself: by [`Decode`], with errors for people, or faster by
//!   [`serde::Deserialize`], which accepts slightly more than the schema. An enum or a struct stays what it is, a union
//!   becomes a struct with an enum of its branches, an alternate becomes an enum.
//! * An event becomes a variant of [`Event`] and of [`SignalName`], a [`Signal`] in [`Signals`], and the command that
//!   connects to it.
//! * A command becomes a variant of [`MachineCommand`] or [`MonitorCommand`], a method of [`MachineCommands`] or
//!   [`MonitorCommands`], and an entry of [`COMMANDS`]. The method of a command that takes time (`'coroutine': true`)
//!   receives a [`Reply`].
//!
//! All of them together are the answer to `query-qmp-schema` ([`introspection()`]).
//!
//! Written by hand are the types that a schema cannot define: a command's error ([`CommandError`]) and the path of a value
//! that does not decode ([`Path`]).

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
