//! The transports: addresses, listening sockets of each kind, and the streams that they accept.
//!
//! [`address`] parses the value of `--qmp`, [`binding`] opens it as a [`socket`] of its kind ([`unix_socket`], [`tcp`],
//! [`inherited`]), and every client is a [`stream`]; [`stdio`] makes one of standard input and output.

pub(crate) mod address;
pub(crate) mod binding;
pub(crate) mod error;
pub(crate) mod inherited;
pub(crate) mod socket;
pub(crate) mod stdio;
pub(crate) mod stream;
pub(crate) mod tcp;
pub mod unix_socket;
