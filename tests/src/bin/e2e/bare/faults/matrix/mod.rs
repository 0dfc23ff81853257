//! The matrix: a cell for each combination of operation, action, policy and kind of image. Each cell is checked from
//! both sides: what the guest is told and reads, and what the client receives and counts.

mod cells;
mod data;
mod play;

use std::fs;
use std::path::Path;
use std::process::Command;

use faultvisor_tests::bare::{Plan, image};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, tool};

use super::{Rig, step_by_step};
use crate::bare::qcow2::check_whole;
use cells::{Column, OPERATIONS, Operation, Policy, REGION};
use data::Model;
use play::Player;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    with_io_uring_every_fault_is_reported,
    with_io_uring_every_fault_is_ignored,
    with_io_uring_every_fault_stops_the_machine,
    with_io_uring_every_lack_of_space_stops_the_machine,
    with_threads_every_fault_is_reported,
    with_threads_every_fault_is_ignored,
    with_threads_every_fault_stops_the_machine,
    with_threads_every_lack_of_space_stops_the_machine,
    with_qcow2_every_fault_is_reported,
    with_qcow2_every_fault_is_ignored,
    with_qcow2_every_fault_stops_the_machine,
    with_qcow2_every_lack_of_space_stops_the_machine,
];

const REPORT: Policy = Policy {
    werror: "report",
    rerror: "report",
};
const IGNORE: Policy = Policy {
    werror: "ignore",
    rerror: "ignore",
};
const STOP: Policy = Policy {
    werror: "stop",
    rerror: "stop",
};
const ENOSPC: Policy = Policy {
    werror: "enospc",
    rerror: "report",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    IoUring,
    Threads,
    Qcow2,
}

/// One cell of a page.
struct Cell {
    operation: Operation,
    action: Column,
    /// Its first sector.
    first: u64,
}

impl Cell {
    /// Its name in a failure.
    fn name(&self) -> String {
        format!("{} × {}", self.operation.name(), self.action.name)
    }

    fn is_possible(&self) -> bool {
        self.action.is_possible(self.operation)
    }
}

fn page() -> Vec<Cell> {
    let kinds = cells::actions(0).len();
    let mut page = Vec::new();
    for operation in OPERATIONS {
        for kind in 0..kinds {
            let first = page.len() as u64 * REGION;
            let action = cells::actions(first).swap_remove(kind);
            page.push(Cell {
                operation,
                action,
                first,
            });
        }
    }
    page
}

/// Runs all cells of one policy on one kind of image, in one machine.
fn play(context: &Context, backend: Backend, policy: Policy) -> Result<(), Failure> {
    let page = page();
    let mut steps = Vec::new();
    for cell in page.iter().filter(|cell| cell.is_possible()) {
        steps.push(cell.operation.step(cell.first));
        steps.push(format!("read 0 {} {REGION}", cell.first));
    }
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let sectors = page.len() * usize::try_from(REGION)?;
    let (raw, log) = (context.path("disk"), context.path("log"));
    image(&raw, 1, sectors)?;
    let drive = drive(context, &raw, backend)?;
    let Policy { werror, rerror } = policy;
    let drive = format!("{drive},id=d0,werror={werror},rerror={rerror}");
    let plan = Plan::new(context, &step_by_step(&steps))?;
    let log_option = log.display().to_string();
    let plan = plan.options(&["--drive", &drive, "--fault-log", &log_option]);
    let rig = Rig::start(plan)?;
    // VIRTIO_BLK_F_DISCARD
    if rig.setup.number("offered")? & 1 << 13 == 0 {
        return Err(Failure::skip("this file system makes no holes"));
    }
    let mut player = Player::new(rig, policy, Model::new(sectors), log);
    for cell in &page {
        let played = if cell.is_possible() {
            player.play(cell)
        } else {
            player.is_refused(cell)
        };
        played.map_err(|failure| match failure {
            Failure::Failed(why) => Failure::new(format!("{}: {why}", cell.name())),
            skipped @ Failure::Skipped(_) => skipped,
        })?;
    }
    let model = player.end()?;
    let found = match backend {
        Backend::IoUring | Backend::Threads => fs::read(&raw)?,
        Backend::Qcow2 => {
            let image = context.path("disk.qcow2");
            check_whole(&image)?;
            let flat = context.path("flat");
            convert(&["-O", "raw"], &image, &flat)?;
            fs::read(flat)?
        }
    };
    check_eq!(found.len(), model.bytes.len());
    let other = found.chunks(512).zip(model.bytes.chunks(512));
    let other = other
        .enumerate()
        .find(|(_, (found, should))| found != should);
    if let Some((sector, _)) = other {
        let cell = &page[sector / usize::try_from(REGION)?];
        return Err(Failure::new(format!(
            "{}: the image has other bytes at sector {sector}",
            cell.name()
        )));
    }
    Ok(())
}

/// Converts the raw image to the disk's kind, and returns the beginning of `--drive`.
fn drive(context: &Context, raw: &Path, backend: Backend) -> Result<String, Failure> {
    let raw_drive = |aio: &str| format!("file={},format=raw,aio={aio}", raw.display());
    Ok(match backend {
        Backend::IoUring => raw_drive("io_uring"),
        Backend::Threads => raw_drive("threads"),
        Backend::Qcow2 => {
            // A cluster is as long as a request, so that it can be discarded.
            let image = context.path("disk.qcow2");
            convert(&["-O", "qcow2", "-o", "cluster_size=4096"], raw, &image)?;
            format!("file={},format=qcow2", image.display())
        }
    })
}

/// Has qemu-img convert an image.
pub(super) fn convert(options: &[&str], from: &Path, to: &Path) -> Result<(), Failure> {
    let mut command: Command =
        tool::command("qemu-img").map_err(|error| Failure::skip(error.to_string()))?;
    tool::run(command.arg("convert").args(options).arg(from).arg(to))?;
    check!(to.exists(), "no {}", to.display());
    Ok(())
}

fn with_io_uring_every_fault_is_reported(context: &Context) -> Result<(), Failure> {
    play(context, Backend::IoUring, REPORT)
}

fn with_io_uring_every_fault_is_ignored(context: &Context) -> Result<(), Failure> {
    play(context, Backend::IoUring, IGNORE)
}

fn with_io_uring_every_fault_stops_the_machine(context: &Context) -> Result<(), Failure> {
    play(context, Backend::IoUring, STOP)
}

fn with_io_uring_every_lack_of_space_stops_the_machine(context: &Context) -> Result<(), Failure> {
    play(context, Backend::IoUring, ENOSPC)
}

fn with_threads_every_fault_is_reported(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Threads, REPORT)
}

fn with_threads_every_fault_is_ignored(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Threads, IGNORE)
}

fn with_threads_every_fault_stops_the_machine(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Threads, STOP)
}

fn with_threads_every_lack_of_space_stops_the_machine(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Threads, ENOSPC)
}

fn with_qcow2_every_fault_is_reported(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Qcow2, REPORT)
}

fn with_qcow2_every_fault_is_ignored(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Qcow2, IGNORE)
}

fn with_qcow2_every_fault_stops_the_machine(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Qcow2, STOP)
}

fn with_qcow2_every_lack_of_space_stops_the_machine(context: &Context) -> Result<(), Failure> {
    play(context, Backend::Qcow2, ENOSPC)
}
