//! The QMP server.
//!
//! A [`Monitor`] listens on its addresses ([`ListenAddress`]), serves any number of clients in a thread of its own, and
//! passes the machine's commands to a [`Machine`]. Events come from the schema's
//! [`Signals`](faultvisor_schema::Signals).
//!
//! Imports point one way, from a room to those above it in this table:
//!
//! | room | what it holds |
//! | --- | --- |
//! | `identity`, `budget`, `thread`, [`option_syntax`] | names, memory limits, threads and option syntax; import nothing of this crate |
//! | `wire` | bytes to requests, answers and events to bytes |
//! | `inbox` | the one way in from other threads |
//! | `machine` | the [`Machine`], which executes what the monitor cannot |
//! | `transport` | addresses, listening sockets, streams |
//! | `delivery` | connections, rendering, a session's output, rate limit, late subscribers |
//! | `session` | one client: its opening, its requests in order and out of band, the commands that the monitor answers |
//! | `server` | the loop, the listeners, and all sessions |
//! | `monitor` | setting it up, starting it, ending it |
//!
//! Nothing here waits for a client or for the machine.

mod budget;
mod delivery;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod inbox;
mod machine;
mod monitor;
pub mod option_syntax;
mod server;
mod session;
mod thread;
mod transport;
mod wire;

pub use machine::{Machine, Reply};
pub use monitor::{Monitor, MonitorBuilder, MonitorHandle, StartError};
pub use thread::ThreadKind;
pub use transport::address::{AddressError, ListenAddress};
pub use transport::error::{BindError, InheritedError};
pub use transport::socket::LocalAddress;
pub use transport::unix_socket;
pub use wire::json::Strict;
