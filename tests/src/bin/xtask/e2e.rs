//! Runs the end-to-end tests on this machine and in the lab.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faultvisor_harness::child::Guarded;
use faultvisor_harness::command_line;
use faultvisor_harness::transcript::{NoLine, Transcript};
use faultvisor_tests::debian::DebianImages;
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab::{self, Payload, ScratchDisk, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::suite::{Outcome, Record, Report, Size, TestResult, chain};
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::binaries::{self, Binaries};
use crate::debian::{self, Copies};
use crate::examples::{self, Examples};
use crate::{console, namespace, python};

/// All tests on this machine, or all tests in the lab, take less by far; in the full size, longer than one waits.
const fn limit(size: Size) -> Duration {
    Duration::from_secs(60 * size.choose(25, 600))
}

/// Where the examples are in the lab.
const EXAMPLES: &str = "/payload/examples";

/// The lab's disk for images, which takes only the space that is written to.
const fn scratch_mebibytes(size: Size) -> u64 {
    size.choose(4 << 10, 32 << 10)
}

/// The end-to-end tests' results and the logs of those that failed.
pub type Results = (Vec<TestResult>, BTreeMap<String, Vec<String>>);

/// Which tests to run.
pub struct Choice<'a> {
    /// Those whose names hold one of these; all if there are none.
    pub names: &'a [String],
    /// In the full size, only those that have one.
    pub size: Size,
}

/// Runs the chosen end-to-end tests.
pub fn run(workspace: &Workspace, choice: &Choice<'_>) -> Result<Results, Box<dyn Error>> {
    let kvm = Kvm::probe();
    let binaries = binaries::build(workspace)?;
    let examples = examples::build(workspace)?;
    let guest = guest::build(workspace, &console::note);
    if let Ok(images) = &guest
        && let Err(error) = guest::build_tools(workspace, images, &console::note)
    {
        if in_ci() {
            return Err(error.into());
        }
        // The tests that need them are skipped, and say so.
        console::note(&chain(&error));
    }
    // Each list of what tests in a lab need has a lab of its own.
    let (here, labs): (&[&str], &[&[&str]]) = match kvm {
        Kvm::Direct => (&["nothing", "kvm", "linux", debian::NEEDED], &[]),
        Kvm::SoftwareOnly { .. } => (&["nothing", "kvm"], &[&["linux"], &[debian::NEEDED]]),
        Kvm::NoKvm { .. } => (&["nothing"], &[&["kvm", "linux"], &[debian::NEEDED]]),
    };
    let debian = debian_for(&binaries, workspace, choice)?;
    let mut results = Vec::new();
    let mut logs = BTreeMap::new();
    let mut add = |(new_results, new_logs): Results| {
        results.extend(new_results);
        logs.extend(new_logs);
    };
    // Without the images every test that needs them fails by name, and says why.
    let images = guest
        .as_ref()
        .cloned()
        .unwrap_or_else(|_| GuestImages::at(workspace.guest_directory()));
    if !here.is_empty() {
        console::note("end-to-end tests on this machine");
        let python = python::with_qmp(workspace);
        let qemu_utils = [packages::QEMU_IO, packages::QEMU_IMG];
        if let Err(error) = packages::ensure_installed(&qemu_utils, &console::note) {
            // The tests that need them are skipped, and say so.
            console::note(&error.to_string());
        }
        let disks = workspace.target().join("disks");
        fs::create_dir_all(&disks)?;
        let mut command = command_here(&binaries, &images, &disks, choice);
        if let Some(python) = &python {
            command.arg("--python").arg(python);
        }
        command.arg("--examples").arg(&examples.directory);
        let copies = debian.as_ref().filter(|_| here.contains(&debian::NEEDED));
        let copies = copies
            .map(|images| Copies::make(images, &disks))
            .transpose()?;
        command.args(copies.iter().flat_map(Copies::arguments));
        add(run_here(
            command.args(selection(here, choice.names)),
            choice.size,
        )?);
    }
    let guest = guest.map_err(|error| chain(&error));
    for needs in labs {
        // A lab takes its time to start, and is not needed for nothing.
        if selected(&binaries, needs, choice)?.is_empty() {
            continue;
        }
        console::note(&format!("end-to-end tests in the lab, for {kvm}"));
        let lab = guest.clone().and_then(|guest| {
            let lab = lab::build(workspace, &console::note);
            Ok((guest, lab.map_err(|error| chain(&error))?))
        });
        let subject = Subject {
            binaries: &binaries,
            examples: &examples,
            debian: debian.as_ref().filter(|_| needs.contains(&debian::NEEDED)),
        };
        add(match lab {
            Ok((guest, lab)) => run_in_lab(&subject, &guest, &lab, needs, choice)?,
            Err(why) => (
                without_lab(&binaries, needs, choice, &why)?,
                BTreeMap::new(),
            ),
        });
    }
    Ok((results, logs))
}

/// Debian, if a chosen test needs it.
fn debian_for(
    binaries: &Binaries,
    workspace: &Workspace,
    choice: &Choice<'_>,
) -> Result<Option<DebianImages>, Box<dyn Error>> {
    if selected(binaries, &[debian::NEEDED], choice)?.is_empty() {
        return Ok(None);
    }
    match debian::build(workspace) {
        Ok(images) => Ok(Some(images)),
        Err(error) if in_ci() => Err(error),
        Err(error) => {
            // Its tests are skipped, and say so.
            console::note(&chain(error.as_ref()));
            Ok(None)
        }
    }
}

fn selection(needs: &[&str], names: &[String]) -> Vec<String> {
    let mut options = Vec::new();
    for needed in needs {
        options.extend(["--needs".to_owned(), (*needed).to_owned()]);
    }
    for name in names {
        options.extend(["--name".to_owned(), name.clone()]);
    }
    options
}

fn take(report: &mut Report, line: &str) {
    match report.line(line) {
        Some(Record::Result(result)) => console::result(&result),
        Some(Record::Note { text, .. }) => console::line(&format!("   {text}")),
        Some(_) => {}
        None => console::line(&format!("   │ {line}")),
    }
}

/// What runs tests on this machine, with where everything is.
fn command_here(
    binaries: &Binaries,
    guest: &GuestImages,
    disks: &Path,
    choice: &Choice<'_>,
) -> Command {
    let mut command = match namespace::command() {
        Some(mut unshare) => {
            unshare.arg(&binaries.e2e);
            unshare
        }
        // Tests that mount are skipped, and say why.
        None => Command::new(&binaries.e2e),
    };
    command
        .arg("run")
        .arg("--program")
        .arg(&binaries.faultvisor)
        .arg("--guest")
        .arg(guest.directory())
        .arg("--bare-guest")
        .arg(&binaries.bare_guest)
        .arg("--disks")
        .arg(disks);
    if choice.size == Size::Full {
        command.arg("--full-size");
    }
    command
}

fn run_here(command: &mut Command, size: Size) -> Result<Results, Box<dyn Error>> {
    let limit = limit(size);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let deadline = Instant::now() + limit;
    let mut process = Guarded::spawn(command)?;
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
            Ok(line) => take(&mut report, &line.text),
            Err(NoLine::Ended) => break,
            Err(why) => {
                ended = Some(format!("killed after {limit:?}: {why}"));
                break;
            }
        }
    }
    Ok(report.finish("the end-to-end tests on this machine", ended.as_deref()))
}

/// What is taken into a lab, beside the guest's images.
struct Subject<'a> {
    binaries: &'a Binaries,
    examples: &'a Examples,
    debian: Option<&'a DebianImages>,
}

fn run_in_lab(
    subject: &Subject<'_>,
    guest: &GuestImages,
    lab: &lab::Images,
    needs: &[&str],
    choice: &Choice<'_>,
) -> Result<Results, Box<dyn Error>> {
    let Subject {
        binaries, examples, ..
    } = subject;
    let mut payload = Payload::new(lab)?;
    payload.copy("/payload/faultvisor", &binaries.faultvisor)?;
    payload.copy("/payload/qmp", &binaries.qmp)?;
    payload.copy("/payload/e2e", &binaries.e2e)?;
    payload.copy("/payload/bare-guest", &binaries.bare_guest)?;
    for file in &examples.programs {
        payload.copy(
            &format!("{EXAMPLES}/{file}"),
            &examples.directory.join(file),
        )?;
    }
    let inside = payload.guest(guest)?;
    payload.optional_tools(guest, &inside)?;
    for program in [packages::QEMU_IMG.program, "e2fsck"] {
        if let Some(program) = tool::find(program) {
            payload.program(&program)?;
        }
    }
    let mut settings = Settings::with_limit(limit(choice.size));
    let boot = subject.debian.map(DebianImages::boot);
    let scratch_disk = ScratchDisk::new(lab, scratch_mebibytes(choice.size), boot.as_deref())?;
    settings.scratch_disk = Some(scratch_disk.path().to_path_buf());
    let debian = subject.debian;
    let debian = debian.map(|images| debian::in_lab(images, &mut settings));
    let words = [
        "/payload/e2e",
        "run",
        "--program",
        "/payload/faultvisor",
        "--bare-guest",
        "/payload/bare-guest",
        "--examples",
        EXAMPLES,
        "--disks",
        lab::SCRATCH,
        "--guest",
    ]
    .map(str::to_owned);
    let words = words
        .into_iter()
        .chain([inside.directory().display().to_string()])
        .chain((choice.size == Size::Full).then(|| "--full-size".to_owned()))
        .chain(debian.unwrap_or_default())
        .chain(selection(needs, choice.names));
    let script = words
        .map(|word| command_line::quoted(&word))
        .collect::<Vec<_>>()
        .join(" ");
    let mut report = Report::default();
    let ran = lab.run(payload, &script, &settings, |line| take(&mut report, line));
    let ended = match ran {
        Ok(outcome) => {
            let (up, total) = (outcome.up_after.as_secs_f64(), outcome.total.as_secs_f64());
            console::note(&format!(
                "the lab was up after {up:.1} s and ran for {total:.1} s"
            ));
            None
        }
        Err(error) => Some(error.to_string()),
    };
    Ok(report.finish("the end-to-end tests in the lab", ended.as_deref()))
}

/// Each test that needs the lab, skipped by name; failed in CI, where a skip would go unnoticed.
fn without_lab(
    binaries: &Binaries,
    needs: &[&str],
    choice: &Choice<'_>,
    why: &str,
) -> Result<Vec<TestResult>, Box<dyn Error>> {
    let why = format!("there is no lab: {why}");
    let outcome = if in_ci() {
        Outcome::Failed(why)
    } else {
        Outcome::Skipped(why)
    };
    let result = |name: String| TestResult {
        name,
        outcome: outcome.clone(),
        seconds: 0.0,
    };
    let names = selected(binaries, needs, choice)?;
    let results: Vec<TestResult> = names.into_iter().map(result).collect();
    results.iter().for_each(console::result);
    Ok(results)
}

/// Whether this is an automatic run, where nobody sees what is skipped.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// The names of the chosen tests that need one of `needs`.
fn selected(
    binaries: &Binaries,
    needs: &[&str],
    choice: &Choice<'_>,
) -> Result<Vec<String>, ToolError> {
    if needs.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = Command::new(&binaries.e2e);
    list.arg("list").args(selection(needs, choice.names));
    if choice.size == Size::Full {
        list.arg("--full-size");
    }
    let list = tool::output(&mut list)?;
    let list = String::from_utf8_lossy(&list);
    Ok(list.lines().map(str::to_owned).collect())
}
