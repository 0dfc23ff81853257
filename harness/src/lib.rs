//! A guest under Faultvisor, for a test.
//!
//! A [`Machine`] is started with a kernel, disks and any options of the program. Its [`Console`] waits for output and
//! types input. Its monitor is a session of [libqmp](libqmp::Session), where each command is a typed function and each
//! event an object. [`fault`] has the most common fault rules.
//!
//! ```no_run
//! use std::time::Duration;
//! use faultvisor_harness::libqmp::{BlockFaultErrnoName, IoOperationType};
//! use faultvisor_harness::{Disk, Machine, fault};
//!
//! # fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let mut machine = Machine::builder("vmlinux")
//!     .initrd("initramfs.cpio")
//!     .append("console=ttyS0 panic=-1")
//!     .disk(Disk::scratch(64 << 20).id("disk0"))
//!     .start()?;
//! machine.console().wait_for("# ", Duration::from_secs(60))?;
//! let errors = machine.qmp().get_block_io_error_event()?;
//! machine.qmp().block_fault_add(&fault::error("disk0", BlockFaultErrnoName::Eio))?;
//! machine.console().type_line("head -c 512 /dev/vda")?;
//! let error = errors.recv_timeout(Duration::from_secs(10))?;
//! assert_eq!(error.operation, IoOperationType::Read);
//! machine.quit()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`guest`] runs programs in a guest that has the agent, and copies files: `docs/agent.md` of the project.
//!
//! A test of a power cut needs a disk that can lose something: [`Disk::volatile`], which [`fault::power_cut`] takes.
//! `resources/examples/cargo-test/tests/power_cut.rs` is a complete example.
//!
//! A package depends on the harness by the git URL of the project's repository, as in
//! `faultvisor-harness = { git = "URL" }`; it is not on a registry.
//!
//! Every wait has a limit, and whatever a machine does not do in time is an [`Error`] that shows the end of its output.

mod builder;
#[cfg(feature = "images")]
pub mod cache;
pub mod child;
pub mod command_line;
pub mod console;
mod disk;
mod error;
pub mod fault;
pub mod guest;
#[cfg(feature = "images")]
pub mod image;
#[cfg(feature = "images")]
pub mod kernel;
#[cfg(feature = "images")]
pub mod lab;
mod machine;
#[cfg(feature = "images")]
pub mod packages;
pub mod process;
mod spawner;
#[cfg(feature = "images")]
pub mod tool;
pub mod transcript;

pub use builder::Builder;
pub use console::Console;
pub use disk::{Disk, VolatileDisk};
pub use error::{Error, Said};
pub use guest::Guest;
pub use machine::Machine;
pub use process::Process;
pub use transcript::{Line, NoLine, Transcript};

pub use libqmp;
