//! The agent of `resources/guests/agent` and its client, on this machine: the agent listens on a unix socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attaching;
mod copies;
mod errors;
mod hung;
mod limits;
mod ports;
mod protocol;
mod runs;
mod streams;
mod under_test;
