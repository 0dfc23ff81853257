//! QEMU's own schema as a reference: which of its commands, events and types we have, and where they differ.
//!
//! `fetch` extracts it from QEMU's source package. [`Model`] is the part of a schema that shows on the wire.
//! [`compare`] compares ours with QEMU's. [`Model::check_answer`] and its kind check messages against it, as a client
//! generated from QEMU's schema does; a [`Witness`] does so for all lines of sessions.

mod comparison;
mod fetch;
mod model;
mod validation;
mod witness;

pub use comparison::compare;
pub use fetch::{QemuSchema, VERSION, fetch};
pub use model::{Command, Event, Member, Model, ModelError, Shape, Value, Variants};
pub use witness::Witness;
