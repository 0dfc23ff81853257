//! Runs tests, each in a process of its own, and reports how they ended.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{self, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{Logs, NOTE};
use super::failure::chain;
use super::{Context, Failure, Needs, Outcome, Place, Record, Size, Test, TestResult};
use crate::host::Kvm;
use faultvisor_harness::child::Guarded;
use faultvisor_harness::transcript::Transcript;

/// Exit statuses of a test's process, beside 0.
const FAILED: u8 = 1;
const SKIPPED: u8 = 77;
/// The prefix of the line with the reason.
const WHY: &str = "FV-WHY ";
/// How long a test's process may take to write its log at its limit, and to start and end.
const GRACE: Duration = Duration::from_secs(5);
/// Most lines of a failed test's log that are passed on: a serial console may be verbose.
const LOG_LINES: usize = 400;

/// Which tests to run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only tests whose names contain one of these; all if empty.
    pub names: Vec<String>,
    /// Only tests that need any of these; all if empty.
    pub needs: Vec<Needs>,
    /// In the full size, only tests that have one.
    pub size: Size,
    /// One of the parts that these tests are dealt into; all if none.
    pub part: Option<Part>,
}

/// One of so many parts of a list of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its index, from 0.
    pub index: usize,
    /// The number of parts; not 0.
    pub count: usize,
}

impl Part {
    /// The whole list.
    pub const WHOLE: Self = Self { index: 0, count: 1 };
}

impl FromStr for Part {
    type Err = String;

    /// Parses `1/2`, the first of two parts.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (number, count) = text.split_once('/')?;
            let (number, count): (usize, usize) = (number.parse().ok()?, count.parse().ok()?);
            let index = number.checked_sub(1).filter(|index| *index < count)?;
            Some(Self { index, count })
        };
        parse().ok_or_else(|| format!("'{text}' is no part, as 1/2 is the first of two"))
    }
}

impl Selection {
    fn has(&self, test: &Test) -> bool {
        (self.names.is_empty() || self.names.iter().any(|name| test.name.contains(name)))
            && (self.needs.is_empty() || self.needs.contains(&test.needs))
            && (self.size == Size::Small || test.has_sizes)
    }
}

/// The selected tests, in order.
///
/// They are dealt into parts in order of their limits, longest first, so that all parts take about as long.
pub fn selected<'a>(tests: &'a [&'a [Test]], selection: &Selection) -> Vec<&'a Test> {
    let all = tests.iter().copied().flatten();
    let mut selected: Vec<&Test> = all.filter(|test| selection.has(test)).collect();
    if let Some(Part { index, count }) = selection.part {
        let mut order: Vec<usize> = (0..selected.len()).collect();
        order.sort_by_key(|at| Reverse(selected[*at].limit));
        let mut part: Vec<usize> = order.into_iter().skip(index).step_by(count).collect();
        part.sort_unstable();
        selected = part.into_iter().map(|at| selected[at]).collect();
    }
    selected
}

/// Runs the selected tests one after the other, and writes a [`Record`] of each event. `arguments`, with a test's name
/// appended, make this program call [`run_one`]. Returns whether none failed.
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
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(arguments).arg(test.name);
                run_process(&mut command, test.limit_in(selection.size))?
            }
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
        for text in log.lines().filter_map(|line| line.strip_prefix(NOTE)) {
            let (name, text) = (test.name.to_owned(), text.to_owned());
            writeln!(to, "{}", Record::Note { name, text })?;
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
        Needs::Linux | Needs::Debian => kvm.runs_linux(),
    };
    (!enough).then(|| kvm.to_string())
}

/// Runs a test's process, which ends itself at its limit, and kills it if it does not.
fn run_process(command: &mut Command, limit: Duration) -> io::Result<(Outcome, String)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let deadline = Instant::now() + limit + GRACE;
    let mut process = Guarded::spawn(command)?;
    let missing = || io::Error::other("a child without its pipes");
    let output = Transcript::record(process.child().stdout.take().ok_or_else(missing)?)?;
    let errors = Transcript::record(process.child().stderr.take().ok_or_else(missing)?)?;
    let ended = process.wait_until(deadline)?;
    process.kill()?;
    // The test's own processes die with it, which closes the pipes.
    let closed = Instant::now() + GRACE;
    let log = [&errors, &output]
        .map(|pipe| pipe.wait_for_end(closed).unwrap_or_else(|_| pipe.text()))
        .concat();
    let why = log
        .lines()
        .find_map(|line| line.strip_prefix(WHY))
        .map(str::to_owned);
    let outcome = match ended {
        None => Outcome::Failed(format!("killed some time after its limit of {limit:?}")),
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

/// Runs one test in this process. Writes its log if it fails, and returns the exit status that [`run_all`] expects of
/// this process.
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
    let limit = test.limit_in(place.size);
    let context = match Context::new(place) {
        Ok(context) => context,
        Err(error) => {
            writeln!(to, "{WHY}no scratch directory: {}", chain(&error))?;
            return Ok(FAILED);
        }
    };
    end_at_limit(limit, context.logs())?;
    let (why, status) = match (test.run)(&context) {
        Ok(()) => return Ok(0),
        Err(Failure::Skipped(why)) => (why, SKIPPED),
        Err(Failure::Failed(why)) => {
            write!(to, "{}", context.logs().text())?;
            (why, FAILED)
        }
    };
    writeln!(to, "{WHY}{}", why.lines().collect::<Vec<_>>().join("; "))?;
    to.flush()?;
    Ok(status)
}

/// Ends this process after `limit`, with the log until then.
fn end_at_limit(limit: Duration, logs: Logs) -> io::Result<()> {
    let watchdog = move || {
        thread::sleep(limit);
        let end = format!(
            "{}{WHY}not done after its limit of {limit:?}\n",
            logs.text()
        );
        // The process ends next, even if the output is closed.
        let _ = io::stdout().write_all(end.as_bytes());
        process::exit(i32::from(FAILED));
    };
    thread::Builder::new()
        .name("limit".to_owned())
        .spawn(watchdog)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> (Outcome, String) {
        run_process(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    const LONG: Duration = Duration::from_secs(30);

    const fn nothing(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    #[test]
    fn each_test_is_in_one_part_and_long_ones_are_spread() {
        const fn test(name: &'static str) -> Test {
            Test::new(name, Needs::Nothing, nothing)
        }
        let long = test("e").with_sizes();
        let tests: &[&[Test]] = &[
            &[test("a"), test("b")],
            &[test("c").with_sizes(), test("d"), long],
        ];
        let names = |part: Option<&str>| -> Vec<&str> {
            let part = part.map(|part| part.parse().unwrap());
            let selection = Selection {
                part,
                ..Selection::default()
            };
            selected(tests, &selection)
                .iter()
                .map(|test| test.name)
                .collect()
        };
        assert_eq!(names(None), ["a", "b", "c", "d", "e"]);
        assert_eq!(names(Some("1/2")), ["a", "c", "d"]);
        assert_eq!(names(Some("2/2")), ["b", "e"]);
        assert!(names(Some("6/9")).is_empty());
        for wrong in ["", "1", "0/2", "3/2", "1/0", "a/b"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_test_process_reports_its_outcome() {
        assert_eq!(run("echo noise", LONG).0, Outcome::Passed);
        let skipped = run("echo 'FV-WHY no disk'; exit 77", LONG).0;
        assert_eq!(skipped, Outcome::Skipped("no disk".to_owned()));
        let (failed, log) = run("echo serial; echo 'FV-WHY 2 is not 3'; exit 1", LONG);
        assert_eq!(failed, Outcome::Failed("2 is not 3".to_owned()));
        assert_eq!(log, "serial\n");
    }

    #[test]
    fn a_test_process_without_output_has_failed() {
        let crashed = run("kill -9 $$", LONG).0;
        assert_eq!(
            crashed,
            Outcome::Failed("its process ended with signal: 9 (SIGKILL): ".to_owned())
        );
        let panicked = run(
            "echo \"thread 'main' panicked at x.rs\" >&2; exit 101",
            LONG,
        )
        .0;
        let Outcome::Failed(why) = panicked else {
            panic!("{panicked:?}")
        };
        assert!(
            why.ends_with("exit status: 101: thread 'main' panicked at x.rs"),
            "{why}"
        );
        // A missing reason is neither success nor skip.
        assert!(matches!(run("exit 77", LONG).0, Outcome::Failed(_)));
    }
}
