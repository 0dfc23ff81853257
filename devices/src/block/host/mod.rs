//! Files and block devices of the host: opening, locking, direct I/O, discard support.

pub mod direct_io;
mod discard_limits;
pub mod image;
pub mod image_error;
pub mod locking;
