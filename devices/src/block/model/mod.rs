//! The types that all rooms of the block layer share: requests, backends, guest memory, errors.

pub mod access;
pub mod backend;
pub mod cache_state;
pub mod errno;
pub mod io_buffers;
pub mod power_cut;
pub mod request;
pub mod segment;
