//! End-to-end tests on this machine.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use faultvisor_harness::child::Guarded;
use faultvisor_harness::transcript::{NoLine, Transcript};
use faultvisor_tests::debian::DebianImages;
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::qemu_schema::QemuSchema;
use faultvisor_tests::suite::{Report, Size};
use faultvisor_tests::workspace::Workspace;

use super::{Choice, Images, Programs, Results, limit, take};
use crate::debian::Copies;
use crate::progress::Running;
use crate::{console, namespace};

/// What tests have only on this machine.
pub struct Here<'a> {
    /// The program under test, with the command-line client beside it.
    pub program: &'a Path,
    /// A Python with qemu.qmp, if there is one.
    pub python: Option<&'a PathBuf>,
    /// QEMU's schema, if it was fetched.
    pub qemu_schema: Option<&'a QemuSchema>,
    /// Debian, for its tests.
    pub debian: Option<&'a DebianImages>,
}

/// Runs the tests.
pub fn run(
    workspace: &Workspace,
    programs: &Programs,
    images: &Images,
    here: &Here<'_>,
    choice: &Choice<'_>,
    name: &str,
) -> Result<Results, Box<dyn Error>> {
    let disks = workspace.target().join("disks");
    fs::create_dir_all(&disks)?;
    let guest = images
        .guest
        .clone()
        .unwrap_or_else(|_| GuestImages::at(workspace.guest_directory()));
    if images.guest.is_ok() {
        guest::build_programs(&guest, &programs.binaries.agent, &console::note)?;
    }
    let mut command = match namespace::command() {
        Some(mut unshare) => {
            unshare.arg(&programs.binaries.e2e);
            unshare
        }
        // Tests that mount are skipped with the reason.
        None => Command::new(&programs.binaries.e2e),
    };
    command.arg("run").arg("--program").arg(here.program);
    command.arg("--guest").arg(guest.directory());
    command
        .arg("--bare-guest")
        .arg(&programs.binaries.bare_guest);
    command.arg("--disks").arg(&disks);
    command.arg("--examples").arg(&programs.examples.directory);
    if let Some(python) = here.python {
        command.arg("--python").arg(python);
    }
    if let Some(schema) = here.qemu_schema {
        command.arg("--qemu-schema").arg(schema.directory());
    }
    if choice.size == Size::Full {
        command.arg("--full-size");
    }
    let copies = here
        .debian
        .map(|images| Copies::make(images, &disks))
        .transpose()?;
    command.args(copies.iter().flat_map(Copies::arguments));
    command.args(choice.arguments());
    let limit = limit(choice.size);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let running = Running::new(name);
    let deadline = Instant::now() + limit;
    let mut process = Guarded::spawn(&mut command)?;
    let output = process
        .child()
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("a child without its pipe"))?;
    let output = Transcript::record(output)?;
    let mut report = Report::default();
    let mut ended = None;
    for index in 0.. {
        match output.line(index, deadline) {
            Ok(line) => take(&mut report, &line.text, &running),
            Err(NoLine::Ended) => break,
            Err(why) => {
                ended = Some(format!("killed after {limit:?}: {why}"));
                break;
            }
        }
    }
    Ok(report.finish(name, ended.as_deref()))
}
