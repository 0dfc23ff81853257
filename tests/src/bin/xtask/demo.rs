//! `cargo xtask demo`: installs what is missing, then shows the main job.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use faultvisor_harness::child::Guarded;
use faultvisor_harness::command_line;
use faultvisor_harness::transcript::{NoLine, Transcript};
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab::{self, Payload, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::suite::{Outcome, TestResult, chain};
use faultvisor_tests::workspace::Workspace;

use crate::binaries::{self, Binaries};
use crate::cargo::Ran;
use crate::progress::Running;
use crate::{console, namespace};

/// Its time limit; it takes a fraction of this.
const LIMIT: Duration = Duration::from_secs(300);

/// What to show, beside the default.
#[derive(Args, Default)]
pub struct Options {
    /// Use the lab, whatever this machine's KVM is good for.
    #[arg(long)]
    in_lab: bool,
    /// Why the disk's image has less space than the disk; a small file system if one can be mounted.
    #[arg(long, value_enum)]
    shortage: Option<Shortage>,
}

/// Why the disk's image has less space than the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shortage {
    FileSystem,
    FileSizeLimit,
}

impl Shortage {
    fn word(self) -> &'static str {
        match self {
            Self::FileSystem => "file-system",
            Self::FileSizeLimit => "file-size-limit",
        }
    }
}

/// Builds what is missing and shows the main job; fails if any part of it fails.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let mut needed = vec![packages::MKE2FS];
    if !is_direct(&Kvm::probe(), options) {
        needed.push(packages::QEMU);
    }
    packages::ensure_installed(&needed, &console::note)?;
    let binaries = binaries::build(workspace)?;
    let guest = guest::build(workspace, &console::note)?;
    let shown = show(workspace, &binaries, &guest, options, &mut console::line)?;
    Ok(if shown {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the demonstration as one test, with what was built; keeps its output only if it fails.
pub fn run(
    workspace: &Workspace,
    binaries: &Binaries,
    guest: &GuestImages,
) -> Result<Ran, Box<dyn Error>> {
    let _running = Running::new("demonstration");
    let started = Instant::now();
    let mut output = Vec::new();
    let mut take = |line: &str| output.push(line.to_owned());
    let shown = show(workspace, binaries, guest, &Options::default(), &mut take);
    let outcome = match shown {
        Ok(true) => Outcome::Passed,
        // The last line names the failure.
        Ok(false) => Outcome::Failed(output.last().cloned().unwrap_or_default()),
        Err(error) => Outcome::Failed(chain(error.as_ref())),
    };
    if outcome == Outcome::Passed {
        output.clear();
    }
    let result = TestResult {
        name: "demonstration".to_owned(),
        outcome,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok(Ran {
        results: vec![result],
        output,
    })
}

/// Passes on each line of the demonstration as it arrives, and returns whether all of it succeeded.
fn show(
    workspace: &Workspace,
    binaries: &Binaries,
    guest: &GuestImages,
    options: &Options,
    on_line: &mut dyn FnMut(&str),
) -> Result<bool, Box<dyn Error>> {
    let kvm = Kvm::probe();
    if is_direct(&kvm, options) {
        console::note(&format!("running directly: {kvm}"));
        return run_directly(binaries, guest, options.shortage, on_line);
    }
    let why = if options.in_lab {
        "as asked".to_owned()
    } else {
        kvm.to_string()
    };
    console::note(&format!(
        "running in the lab, a nested host in software: {why}"
    ));
    run_in_lab(workspace, binaries, guest, options.shortage, on_line)
}

/// Whether it runs without the lab.
fn is_direct(kvm: &Kvm, options: &Options) -> bool {
    kvm.runs_linux() && !options.in_lab
}

fn run_directly(
    binaries: &Binaries,
    guest: &GuestImages,
    shortage: Option<Shortage>,
    on_line: &mut dyn FnMut(&str),
) -> Result<bool, Box<dyn Error>> {
    let namespace = namespace::command();
    // A small file system needs a mount namespace; without one, limit the size of files.
    let shortage = shortage.unwrap_or(match namespace {
        Some(_) => Shortage::FileSystem,
        None => Shortage::FileSizeLimit,
    });
    let mut command = match namespace {
        Some(mut unshare) if shortage == Shortage::FileSystem => {
            unshare.arg(&binaries.e2e);
            unshare
        }
        _ => Command::new(&binaries.e2e),
    };
    command.args(words(&binaries.faultvisor, guest, shortage));
    // One pipe for both, as the lab has one console.
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?);
    let mut process = Guarded::spawn(command.stderr(writer))?;
    // `command` holds the pipe's writing end open.
    drop(command);
    let output = Transcript::record(reader)?;
    let deadline = Instant::now() + LIMIT;
    for index in 0.. {
        match output.line(index, deadline) {
            Ok(line) => on_line(&line.text),
            Err(NoLine::Ended) => break,
            Err(why) => return Err(format!("killed after {LIMIT:?}: {why}").into()),
        }
    }
    let ended = process.wait_until(deadline)?;
    let status = ended.ok_or_else(|| format!("killed after {LIMIT:?}"))?;
    Ok(status.success())
}

fn run_in_lab(
    workspace: &Workspace,
    binaries: &Binaries,
    guest: &GuestImages,
    shortage: Option<Shortage>,
    on_line: &mut dyn FnMut(&str),
) -> Result<bool, Box<dyn Error>> {
    let lab = lab::build(workspace, &console::note)?;
    let mut payload = Payload::new(&lab)?;
    payload.built("/payload/faultvisor", &binaries.faultvisor)?;
    payload.built("/payload/e2e", &binaries.e2e)?;
    let inside = lab::add_guest(&mut payload, guest)?;
    let shortage = shortage.unwrap_or(Shortage::FileSystem);
    let words = words(Path::new("/payload/faultvisor"), &inside, shortage);
    let words: Vec<String> = words
        .iter()
        .map(|word| command_line::quoted(word))
        .collect();
    let script = format!("/payload/e2e {}", words.join(" "));
    let outcome = lab.run(payload, &script, &Settings::with_limit(LIMIT), on_line)?;
    let (up, total) = (outcome.up_after.as_secs_f64(), outcome.total.as_secs_f64());
    console::note(&format!(
        "the lab was up after {up:.1} s and ran for {total:.1} s"
    ));
    Ok(outcome.status == 0)
}

fn words(program: &Path, guest: &GuestImages, shortage: Shortage) -> [String; 7] {
    [
        "demo".to_owned(),
        "--program".to_owned(),
        program.display().to_string(),
        "--guest".to_owned(),
        guest.directory().display().to_string(),
        "--shortage".to_owned(),
        shortage.word().to_owned(),
    ]
}
