//! QEMU's own schema, as a measure of ours: which of its commands, events and types we have, and where they differ.
//!
//! `fetch` has it out of QEMU's source package, [`Model`] is a schema as far as it is to be seen on the wire,
//! [`compare`] holds ours against QEMU's, and [`Model::check_answer`] and its kind hold what was sent against it, as a client
//! does whose types are made from QEMU's schema; a [`Witness`] does so with all lines of sessions.

mod comparison;
mod fetch;
mod model;
mod validation;
mod witness;

pub use comparison::compare;
pub use fetch::{QemuSchema, VERSION, fetch};
pub use model::{Command, Event, Member, Model, ModelError, Shape, Value, Variants};
pub use witness::Witness;
