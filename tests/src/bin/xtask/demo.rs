//! `cargo xtask demo`: everything that a fresh machine lacks, and then the main job.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use faultvisor_tests::child::Guarded;
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab::{self, Payload, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::tool;
use faultvisor_tests::workspace::Workspace;

use crate::binaries::{self, Binaries};
use crate::{console, namespace};

/// It takes a fraction of this.
const LIMIT: Duration = Duration::from_secs(300);

/// What to show, beside the default.
#[derive(Args)]
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

/// Makes what is missing and shows the main job; fails if anything in it is not as it should be.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let kvm = Kvm::probe();
    let directly = kvm.runs_linux() && !options.in_lab;
    let mut needed = vec![packages::MKE2FS];
    if !directly {
        needed.push(packages::QEMU);
    }
    packages::ensure_installed(&needed, &console::note)?;
    let binaries = binaries::build(workspace)?;
    let guest = guest::build(workspace, &console::note)?;
    let succeeded = if directly {
        console::note(&format!("running directly: {kvm}"));
        run_directly(&binaries, &guest, options.shortage)?
    } else {
        let why = if options.in_lab {
            "as asked".to_owned()
        } else {
            kvm.to_string()
        };
        console::note(&format!(
            "running in the lab, a nested host in software: {why}"
        ));
        run_in_lab(workspace, &binaries, &guest, options.shortage)?
    };
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_directly(
    binaries: &Binaries,
    guest: &GuestImages,
    shortage: Option<Shortage>,
) -> Result<bool, Box<dyn Error>> {
    let namespace = namespace::command();
    // A small file system takes a mount namespace; without one a limit on the size of files does as well.
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
    let mut process = Guarded::spawn(command.stdin(Stdio::null()))?;
    let ended = process.wait_until(Instant::now() + LIMIT)?;
    let status = ended.ok_or_else(|| format!("killed after {LIMIT:?}"))?;
    Ok(status.success())
}

fn run_in_lab(
    workspace: &Workspace,
    binaries: &Binaries,
    guest: &GuestImages,
    shortage: Option<Shortage>,
) -> Result<bool, Box<dyn Error>> {
    let lab = lab::build(workspace, &console::note)?;
    let mut payload = Payload::new(&lab)?;
    payload.copy("/payload/faultvisor", &binaries.faultvisor)?;
    payload.copy("/payload/e2e", &binaries.e2e)?;
    let inside = payload.guest(guest)?;
    let shortage = shortage.unwrap_or(Shortage::FileSystem);
    let words = words(Path::new("/payload/faultvisor"), &inside, shortage);
    let words: Vec<String> = words.iter().map(|word| tool::quoted(word)).collect();
    let script = format!("/payload/e2e {}", words.join(" "));
    let outcome = lab.run(
        payload,
        &script,
        &Settings::with_limit(LIMIT),
        console::line,
    )?;
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
