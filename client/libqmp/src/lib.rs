//! libqmp: the typed client of Faultvisor's monitor, and of QEMU's.
//!
//! A [`Session`] has a method for every command of the schema, and one for every event: that returns an object
//! ([`Events`]), and having the object is being connected to the signal behind the event. Getting it executes the
//! accessor, as `get-block-io-error-event`; dropping it executes `put-event`.
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
//! With the feature `tokio` there is the same to be awaited, and events as streams, in `asynchronous`. Commands and
//! events that the schema does not know are reached by [`Session::execute_raw`], [`Session::get_event`] and
//! [`Session::any_event`]. Against QEMU, which has no accessors, objects rest on the events that it sends by default.

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

/// Who has said a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This client.
    Sent,
    /// The server.
    Received,
}

/// Is shown each line of a session.
pub(crate) type Observer = std::sync::Arc<dyn Fn(Direction, &str) + Send + Sync>;
