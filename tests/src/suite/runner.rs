//! Runs tests, each in a process of its own, and says how they ended.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::failure::chain;
use super::{Context, Failure, Needs, Outcome, Place, Record, Test, TestResult};
use crate::child::Guarded;
use crate::host::Kvm;
use crate::transcript::Transcript;

/// The exit status of a test's process, beside 0.
const FAILED: u8 = 1;
const SKIPPED: u8 = 77;
/// What the line with the reason starts with.
const WHY: &str = "FV-WHY ";
/// No more of a failed test's log is passed on: a serial console may have said very much.
const LOG_LINES: usize = 400;

/// Which tests to run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only tests whose names hold one of these; all if empty.
    pub names: Vec<String>,
    /// Only tests that need any of these; all if empty.
    pub needs: Vec<Needs>,
}

impl Selection {
    fn has(&self, test: &Test) -> bool {
        (self.names.is_empty() || self.names.iter().any(|name| test.name.contains(name)))
            && (self.needs.is_empty() || self.needs.contains(&test.needs))
    }
}

/// The selected tests, in order.
pub fn selected<'a>(
    tests: &'a [&'a [Test]],
    selection: &'a Selection,
) -> impl Iterator<Item = &'a Test> {
    tests
        .iter()
        .copied()
        .flatten()
        .filter(|test| selection.has(test))
}

/// Runs the selected tests one after the other, writing a [`Record`] for whatever happens. `arguments` make this program
/// call [`run_one`] when a test's name is appended to them. Returns whether none failed.
pub fn run_all(
    tests: &[&[Test]],
    selection: &Selection,
    kvm: &Kvm,
    arguments: &[OsString],
    to: &mut dyn Write,
) -> io::Result<bool> {
    let mut results = 0;
    let mut all_well = true;
    for test in selected(tests, selection) {
        writeln!(to, "{}", Record::Start(test.name.to_owned()))?;
        let started = Instant::now();
        let (outcome, log) = match missing(test.needs, kvm) {
            Some(why) => (Outcome::Skipped(why), String::new()),
            None => run_in_process(test, arguments)?,
        };
        if matches!(outcome, Outcome::Failed(_)) {
            all_well = false;
            let lines: Vec<&str> = log.lines().collect();
            for text in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                writeln!(
                    to,
                    "{}",
                    Record::Log {
                        name: test.name.to_owned(),
                        text: (*text).to_owned()
                    }
                )?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let result = TestResult {
            name: test.name.to_owned(),
            outcome,
            seconds,
        };
        writeln!(to, "{}", Record::Result(result))?;
        results += 1;
    }
    writeln!(to, "{}", Record::End { results })?;
    to.flush()?;
    Ok(all_well)
}

fn missing(needs: Needs, kvm: &Kvm) -> Option<String> {
    let enough = match needs {
        Needs::Nothing => true,
        Needs::Kvm => kvm.is_there(),
        Needs::Linux => kvm.runs_linux(),
    };
    (!enough).then(|| kvm.to_string())
}

fn run_in_process(test: &Test, arguments: &[OsString]) -> io::Result<(Outcome, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).arg(test.name);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let deadline = Instant::now() + test.limit;
    let mut process = Guarded::spawn(&mut command)?;
    let missing = || io::Error::other("a child without its pipes");
    let output = Transcript::record(process.child().stdout.take().ok_or_else(missing)?)?;
    let errors = Transcript::record(process.child().stderr.take().ok_or_else(missing)?)?;
    let ended = process.wait_until(deadline)?;
    process.kill()?;
    // What the test has started dies with it, and closes the pipes.
    let closed = Instant::now() + Duration::from_secs(5);
    let log = [&errors, &output]
        .map(|pipe| pipe.wait_for_end(closed).unwrap_or_else(|_| pipe.text()))
        .concat();
    let why = log
        .lines()
        .find_map(|line| line.strip_prefix(WHY))
        .map(str::to_owned);
    let outcome = match ended {
        None => Outcome::Failed(format!("killed after its limit of {:?}", test.limit)),
        Some(status) => match (status.code(), why) {
            (Some(0), _) => Outcome::Passed,
            (Some(code), Some(why)) if code == i32::from(SKIPPED) => Outcome::Skipped(why),
            (Some(code), Some(why)) if code == i32::from(FAILED) => Outcome::Failed(why),
            // It panicked, or was killed by a signal.
            _ => Outcome::Failed(format!(
                "its process ended with {status}: {}",
                last_line(&errors)
            )),
        },
    };
    let log = log
        .lines()
        .filter(|line| !line.starts_with(WHY))
        .map(|line| format!("{line}\n"))
        .collect();
    Ok((outcome, log))
}

fn last_line(transcript: &Transcript) -> String {
    let text = transcript.text();
    let panic = text.lines().find(|line| line.contains("panicked at"));
    panic
        .or_else(|| text.lines().last())
        .unwrap_or_default()
        .to_owned()
}

/// Runs one test in this process. Writes its log if it fails, and returns the exit status with which this process must
/// end so that [`run_all`] understands it.
pub fn run_one(tests: &[&[Test]], name: &str, place: Place, to: &mut dyn Write) -> io::Result<u8> {
    let Some(test) = tests
        .iter()
        .copied()
        .flatten()
        .find(|test| test.name == name)
    else {
        writeln!(to, "{WHY}there is no test of this name")?;
        return Ok(FAILED);
    };
    let context = match Context::new(place) {
        Ok(context) => context,
        Err(error) => {
            writeln!(to, "{WHY}no scratch directory: {}", chain(&error))?;
            return Ok(FAILED);
        }
    };
    let (why, status) = match (test.run)(&context) {
        Ok(()) => return Ok(0),
        Err(Failure::Skipped(why)) => (why, SKIPPED),
        Err(Failure::Failed(why)) => {
            write!(to, "{}", context.log())?;
            (why, FAILED)
        }
    };
    writeln!(to, "{WHY}{}", why.lines().collect::<Vec<_>>().join("; "))?;
    to.flush()?;
    Ok(status)
}
