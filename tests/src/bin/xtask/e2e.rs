//! Runs the end-to-end tests on this machine and in the lab.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faultvisor_tests::child::Guarded;
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab::{self, Payload, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::suite::{Outcome, Record, Report, TestResult, chain};
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::transcript::{NoLine, Transcript};
use faultvisor_tests::workspace::Workspace;

use crate::binaries::{self, Binaries};
use crate::{console, namespace, python};

/// All tests on this machine, or all tests in the lab, take less by far.
const LIMIT: Duration = Duration::from_secs(12 * 60);

/// The end-to-end tests' results and the logs of those that failed.
pub type Results = (Vec<TestResult>, BTreeMap<String, Vec<String>>);

/// Runs the end-to-end tests whose names hold one of `names`; all if there are none.
pub fn run(workspace: &Workspace, names: &[String]) -> Result<Results, Box<dyn Error>> {
    let kvm = Kvm::probe();
    let binaries = binaries::build(workspace)?;
    let guest = guest::build(workspace, &console::note);
    let (here, in_lab): (&[&str], &[&str]) = match kvm {
        Kvm::Direct => (&["nothing", "kvm", "linux"], &[]),
        Kvm::SoftwareOnly { .. } => (&["nothing", "kvm"], &["linux"]),
        Kvm::NoKvm { .. } => (&["nothing"], &["kvm", "linux"]),
    };
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
        if let Err(error) = packages::ensure_installed(&[packages::QEMU_IO], &console::note) {
            // The test that needs it is skipped, and says so.
            console::note(&error.to_string());
        }
        add(run_here(
            &binaries,
            &images,
            python.as_deref(),
            here,
            names,
        )?);
    }
    // A lab takes its time to start, and is not needed for nothing.
    if !selected(&binaries, in_lab, names)?.is_empty() {
        console::note(&format!("end-to-end tests in the lab, for {kvm}"));
        let lab = guest.map_err(Box::<dyn Error>::from).and_then(|guest| {
            let lab = lab::build(workspace, &console::note)?;
            Ok((guest, lab))
        });
        add(match lab {
            Ok((guest, lab)) => run_in_lab(&binaries, &guest, &lab, in_lab, names)?,
            Err(error) => (
                without_lab(&binaries, in_lab, names, &chain(error.as_ref()))?,
                BTreeMap::new(),
            ),
        });
    }
    Ok((results, logs))
}

fn options(needs: &[&str], names: &[String]) -> Vec<String> {
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
        Some(_) => {}
        None => console::line(&format!("   │ {line}")),
    }
}

fn run_here(
    binaries: &Binaries,
    guest: &GuestImages,
    python: Option<&Path>,
    needs: &[&str],
    names: &[String],
) -> Result<Results, Box<dyn Error>> {
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
        .arg(&binaries.bare_guest);
    if let Some(python) = python {
        command.arg("--python").arg(python);
    }
    command
        .args(options(needs, names))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let deadline = Instant::now() + LIMIT;
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
            Ok(line) => take(&mut report, &line.text),
            Err(NoLine::Ended) => break,
            Err(NoLine::TimedOut) => {
                ended = Some(format!("killed after {LIMIT:?}"));
                break;
            }
        }
    }
    Ok(report.finish("the end-to-end tests on this machine", ended.as_deref()))
}

fn run_in_lab(
    binaries: &Binaries,
    guest: &GuestImages,
    lab: &lab::Images,
    needs: &[&str],
    names: &[String],
) -> Result<Results, Box<dyn Error>> {
    let mut payload = Payload::new(lab)?;
    payload.copy("/payload/faultvisor", &binaries.faultvisor)?;
    payload.copy("/payload/e2e", &binaries.e2e)?;
    payload.copy("/payload/bare-guest", &binaries.bare_guest)?;
    let inside = payload.guest(guest)?;
    let words = [
        "/payload/e2e",
        "run",
        "--program",
        "/payload/faultvisor",
        "--bare-guest",
        "/payload/bare-guest",
        "--guest",
    ]
    .map(str::to_owned);
    let words = words
        .into_iter()
        .chain([inside.directory().display().to_string()])
        .chain(options(needs, names));
    let script = words
        .map(|word| tool::quoted(&word))
        .collect::<Vec<_>>()
        .join(" ");
    let mut report = Report::default();
    let ran = lab.run(payload, &script, &Settings::with_limit(LIMIT), |line| {
        take(&mut report, line);
    });
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
    names: &[String],
    why: &str,
) -> Result<Vec<TestResult>, Box<dyn Error>> {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let why = format!("there is no lab: {why}");
    let outcome = if in_ci {
        Outcome::Failed(why)
    } else {
        Outcome::Skipped(why)
    };
    let result = |name: String| TestResult {
        name,
        outcome: outcome.clone(),
        seconds: 0.0,
    };
    let names = selected(binaries, needs, names)?;
    let results: Vec<TestResult> = names.into_iter().map(result).collect();
    results.iter().for_each(console::result);
    Ok(results)
}

/// The names of the tests that need one of `needs`, and are among `names` if there are any.
fn selected(
    binaries: &Binaries,
    needs: &[&str],
    names: &[String],
) -> Result<Vec<String>, ToolError> {
    if needs.is_empty() {
        return Ok(Vec::new());
    }
    let list = tool::output(
        Command::new(&binaries.e2e)
            .arg("list")
            .args(options(needs, names)),
    )?;
    let list = String::from_utf8_lossy(&list);
    Ok(list.lines().map(str::to_owned).collect())
}
