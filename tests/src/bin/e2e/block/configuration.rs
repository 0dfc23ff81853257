//! The ways in which a disk can be set up.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use faultvisor_tests::check;
use faultvisor_tests::guest_shell::GuestShell;
use faultvisor_tests::suite::Failure;
use faultvisor_tests::tool::{self, ToolError};

use crate::linux::{self, add_disk};

/// How a disk is set up.
#[derive(Debug, Clone, Copy)]
pub struct Configuration {
    format: Format,
    /// What `--drive` is told beside the file, the format and the disk's name.
    keys: &'static str,
    /// What the program's log says of the backend that it has chosen.
    backend: &'static str,
    /// How many vCPUs the guest has, and queues the disk: Linux uses no more queues than it has vCPUs.
    pub queues: u32,
}

/// What its image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Raw,
    /// An overlay on a raw image.
    Qcow2,
}

const BY_IO_URING: &str = "requests go through io_uring";
const BY_THREADS: &str = "requests are carried out by threads";

/// A raw image, by way of the host's page cache and io_uring.
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
/// A raw image, past the host's page cache.
pub const UNCACHED: Configuration = Configuration {
    format: Format::Raw,
    keys: "aio=io_uring,cache=none",
    backend: BY_IO_URING,
    queues: 1,
};
/// A raw image and a queue for each of four vCPUs, short ones.
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

    /// Makes an image of `mebibytes`, of which the guest can read `start` and then zeroes.
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

    /// Fails if an image that no machine uses any more is not as its format wants it.
    pub fn check_image(&self, path: &Path) -> Result<(), Failure> {
        if self.format == Format::Qcow2 {
            tool::run(qemu_img("check")?.args(["-f", "qcow2"]).arg(path))?;
        }
        Ok(())
    }

    /// Adds a disk that is set up like this.
    pub fn add_disk(&self, command: &mut Command, image: &Path, id: &str) {
        // Which backend it is stands in the log.
        command.env("FAULTVISOR_LOG", "info");
        let format = match self.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        };
        let Self { keys, queues, .. } = self;
        let keys = format!("format={format},{keys},num-queues={queues},id={id}");
        add_disk(command, image, &keys);
    }

    /// Fails unless this disk has the backend and the queues that were asked for.
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

/// QEMU's tool for images. Where it is not there, the test is skipped.
pub fn qemu_img(subcommand: &str) -> Result<Command, Failure> {
    let skip = |error: ToolError| Failure::skip(error.to_string());
    let mut command = tool::command("qemu-img").map_err(skip)?;
    command.arg(subcommand);
    Ok(command)
}
