//! Programs in the guest, by its agent.
//!
//! A [`Guest`] is the agent of a machine. Each operation has a connection of its own, so that one does not delay
//! another. [`Machine::run`](crate::Machine::run) and its like are shorter for the guest of a [`Machine`](crate::Machine).
//!
//! ```no_run
//! # fn test(machine: &faultvisor_harness::Machine) -> Result<(), Box<dyn std::error::Error>> {
//! use faultvisor_harness::guest::Command;
//!
//! let output = machine.run(["uname", "-r"])?.success()?;
//! assert!(output.text().starts_with("6."));
//! let mut server = machine.spawn(Command::new("httpd").args(["-f", "-p", "80"]))?;
//! server.control().kill()?;
//! # Ok(())
//! # }
//! ```

pub mod command;
pub mod connect;
mod copy;
pub mod error;
pub mod forward;
pub mod output;
pub mod running;
pub mod state;
mod watch;

pub use faultvisor_agent_protocol::AGENT_PORT;
pub use faultvisor_agent_protocol::failure::{Failure, FailureKind};
pub use faultvisor_agent_protocol::request::{Copied, Description};
pub use faultvisor_agent_protocol::run::Stream;

pub use command::Command;
pub use error::GuestError;
pub use forward::Forward;
pub use output::{Output, Status};
pub use running::{Control, Event, Input, Running};
pub use state::Guest;
pub(crate) use watch::{Announcements, Watch};
