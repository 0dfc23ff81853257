//! Disk configurations.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use faultvisor_tests::check;
use faultvisor_tests::guest_shell::GuestShell;
use faultvisor_tests::suite::Failure;
use faultvisor_tests::tool::{self, ToolError};

use crate::linux::{self, add_disk};

/// A disk's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Configuration {
    format: Format,
    /// Further keys of `--drive`, beside the file, the format and the disk's name.
    keys: &'static str,
    /// The program's log line about the chosen backend.
    backend: &'static str,
    /// Number of the guest's vCPUs and of the disk's queues: Linux uses no more queues than it has vCPUs.
    pub queues: u32,
}

/// Kind of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Raw,
    /// An overlay on a raw image.
    Qcow2,
}

const BY_IO_URING: &str = "requests go through io_uring";
const BY_THREADS: &str = "requests are carried out by threads";

/// A raw image through the host's page cache, with io_uring.
pub const IO_URING: Configuration = Configuration {
    format: Format::Raw,
    keys: "aio=io_uring",
    backend: BY_IO_URING,
    queues: 1,
};
/// The same with threads.
pub const THREADS: Configuration = Configuration {
    format: Format::Raw,
    keys: "aio=threads",
    backend: BY_THREADS,
    queues: 1,
};
/// A raw image with direct I/O.
pub const UNCACHED: Configuration = Configuration {
    format: Format::Raw,
    keys: "aio=io_uring,cache=none",
    backend: BY_IO_URING,
    queues: 1,
};
/// A raw image with four short queues, one per vCPU.
pub const FOUR_QUEUES: Configuration = Configuration {
    format: Format::Raw,
    keys: "aio=io_uring,queue-size=64",
    backend: BY_IO_URING,
    queues: 4,
};
/// An overlay on a raw image.
pub const QCOW2: Configuration = Configuration {
    format: Format::Qcow2,
    keys: "aio=threads",
    backend: "requests on qcow2 are carried out by threads",
    queues: 1,
};

impl Configuration {
    /// Its image's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Creates an image of `mebibytes`, from which the guest reads `start` and then zeroes.
    pub fn make_image(&self, path: &Path, mebibytes: u64, start: &[u8]) -> Result<(), Failure> {
        match self.format {
            Format::Raw => linux::image(path, mebibytes, start),
            Format::Qcow2 => {
                let base = path.with_extension("base");
                linux::image(&base, mebibytes, start)?;
                let mut create = qemu_img("create")?;
                create.args(["-q", "-f", "qcow2", "-F", "raw", "-b"]);
                tool::run(create.arg(base).arg(path))?;
                Ok(())
            }
        }
    }

    /// Checks an image that no machine uses any more against its format.
    pub fn check_image(&self, path: &Path) -> Result<(), Failure> {
        if self.format == Format::Qcow2 {
            tool::run(qemu_img("check")?.args(["-f", "qcow2"]).arg(path))?;
        }
        Ok(())
    }

    /// Adds a disk with this configuration.
    pub fn add_disk(&self, command: &mut Command, image: &Path, id: &str) {
        // The log names the backend.
        command.env("FAULTVISOR_LOG", "info");
        let format = match self.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        };
        let Self { keys, queues, .. } = self;
        let keys = format!("format={format},{keys},num-queues={queues},id={id}");
        add_disk(command, image, &keys);
    }

    /// Fails unless this disk has the requested backend and queues.
    pub fn check(&self, guest: &mut GuestShell, id: &str, device: &str) -> Result<(), Failure> {
        let wanted = format!("disk '{id}': {}", self.backend);
        let by = Instant::now() + Duration::from_secs(5);
        let messages = guest.machine().messages();
        let found = messages.find(0, by, |line| line.contains(&wanted));
        check!(found.is_ok(), "the log does not say: {wanted}");
        let queues = guest.run(&format!("ls /sys/block/{device}/mq | wc -w"))?;
        check!(
            queues == self.queues.to_string(),
            "the guest uses {queues} queues of {device}, not {}",
            self.queues
        );
        Ok(())
    }
}

/// QEMU's tool for images. Skips the test if it is not installed.
pub fn qemu_img(subcommand: &str) -> Result<Command, Failure> {
    let skip = |error: ToolError| Failure::skip(error.to_string());
    let mut command = tool::command("qemu-img").map_err(skip)?;
    command.arg(subcommand);
    Ok(command)
}
