//! Files and block devices of the host: opening, locking, direct I/O, discard support.

pub mod direct_io;
mod discard_limits;
pub mod image;
pub mod locking;
pub mod open_error;
