//! What every room of the block layer speaks of: requests, backends, guest memory, errors.

pub mod access;
pub mod backend;
pub mod errno;
pub mod io_buffers;
pub mod power_cut;
pub mod request;
pub mod segment;
