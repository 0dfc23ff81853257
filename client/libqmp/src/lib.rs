//! libqmp: the typed client of Faultvisor's monitor, and of QEMU's.
//!
//! A [`Session`] has a method for every command of the schema, and one for every event, which returns an object
//! ([`Events`]). The object is a connection to the event's signal: creating it executes the accessor, such as
//! `get-block-io-error-event`; dropping it executes `put-event`.
//!
//! ```no_run
//! use std::time::Duration;
//! use libqmp::Session;
//!
//! let session = Session::connect("unix:/tmp/qmp.sock")?;
//! let errors = session.get_block_io_error_event()?;
//! session.cont()?;
//! let error = errors.recv_timeout(Duration::from_secs(10))?;
//! println!("{} failed: {}", error.device, error.reason);
//! # Ok::<(), libqmp::Error>(())
//! ```
//!
//! The feature `tokio` adds `asynchronous`, with the same as async functions and with events as streams.
//! [`Session::execute_raw`], [`Session::get_event`] and [`Session::any_event`] reach commands and events that the
//! schema does not have. QEMU has no accessors: there, objects use the events that it sends by default.

mod address;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod connecting;
mod core;
mod error;
mod events;
mod lines;
mod message;
mod negotiation;
mod options;
mod process;
mod readiness;
mod routes;
mod said;
mod session;
mod socket;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

pub use error::{Closing, Error, ErrorClass, Moment};
pub use faultvisor_schema::{AccessorArguments, Empty, Null};

pub use events::{
    AnyEvent, EventData, Events, HandlerId, Iter, Occurrence, RawEvent, Timestamp, Unread,
};
pub use generated::*;
pub use negotiation::Greeting;
pub use options::Options;
pub use process::Process;
pub use session::Session;

/// The sender of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This client.
    Sent,
    /// The server.
    Received,
}

/// Observes each line of a session.
pub(crate) type Observer = std::sync::Arc<dyn Fn(Direction, &str) + Send + Sync>;
