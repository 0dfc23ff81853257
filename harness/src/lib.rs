//! A guest under Faultvisor, for a test.
//!
//! A [`Machine`] is started with a kernel, disks and whatever options the program has. Its [`Console`] is waited for and
//! typed on; its monitor is a session of [libqmp](libqmp::Session), where each command is a typed function and each
//! event an object. [`fault`] has the commonest rules for what shall go wrong.
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
//! A test of what is left after a power cut needs a disk that can lose something: [`Disk::volatile`], which is what
//! [`fault::power_cut`] takes. The example `resources/examples/cargo-test/tests/power_cut.rs` has a whole one.
//!
//! A package depends on the harness by the git URL of the project's repository, as in
//! `faultvisor-harness = { git = "URL" }`; nothing of it is on a registry.
//!
//! Nothing here waits for ever, and whatever a machine does not do is an [`Error`] that shows the last that it said.

mod builder;
pub mod child;
pub mod command_line;
pub mod console;
mod disk;
mod error;
pub mod fault;
mod machine;
pub mod process;
mod spawner;
pub mod transcript;

pub use builder::Builder;
pub use console::Console;
pub use disk::{Disk, VolatileDisk};
pub use error::{Error, Said};
pub use machine::Machine;
pub use process::Process;
pub use transcript::{Line, NoLine, Transcript};

pub use libqmp;
