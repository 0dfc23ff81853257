//! The protocol between a host and Faultvisor's agent in a guest.
//!
//! Each connection carries one [`Request`](request::Request). Both sides begin with a [`Hello`](hello::Hello), which
//! states the versions that they speak. Everything is a [frame]: a length, a [`Kind`](frame::Kind) and a
//! payload, which is JSON for messages and raw for data. `docs/agent.md` of the project is the specification.
//!
//! The agent listens on the vsock port [`AGENT_PORT`]. When it is ready it connects to the host's port
//! [`READY_PORT`], and sends its hello there.

pub mod failure;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod hello;
pub mod request;
pub mod run;
pub mod text;
pub mod tree;

/// The vsock port on which the agent listens.
pub const AGENT_PORT: u32 = 64023;
/// The vsock port of the host to which the agent connects when it is ready.
pub const READY_PORT: u32 = 64024;
