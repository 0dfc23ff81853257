//! What an image's bytes mean: raw, qcow2, or a format that is probed for and refused.

pub mod open_error;
pub mod probe_guard;
pub mod probing;
pub mod qcow2;
