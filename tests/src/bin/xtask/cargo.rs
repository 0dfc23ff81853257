//! Runs cargo's checks and tests, and parses their output.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faultvisor_harness::child::Guarded;
use faultvisor_harness::transcript::Transcript;
use faultvisor_tests::build;
use faultvisor_tests::suite::{Outcome, TestResult};
use faultvisor_tests::workspace::Workspace;

use crate::progress::Running;

/// How long a killed command's pipe may stay open.
const GRACE: Duration = Duration::from_secs(5);

/// The result of one command.
pub struct Ran {
    /// Its results.
    pub results: Vec<TestResult>,
    /// Its output, if anything failed.
    pub output: Vec<String>,
}

impl Ran {
    /// Whether nothing failed.
    pub fn is_well(&self) -> bool {
        let has_failed = |result: &TestResult| matches!(result.outcome, Outcome::Failed(_));
        !self.results.iter().any(has_failed)
    }
}

/// Runs a command that passes or fails as a whole, and is killed after `limit`.
pub fn check(
    workspace: &Workspace,
    name: &str,
    command: &mut Command,
    limit: Duration,
) -> io::Result<Ran> {
    Ok(check_and_tell(workspace, name, command, limit)?.0)
}

/// As [`check`]; returns the command's output, too.
pub fn check_and_tell(
    workspace: &Workspace,
    name: &str,
    command: &mut Command,
    limit: Duration,
) -> io::Result<(Ran, Vec<String>)> {
    command.current_dir(workspace.root());
    let Ended {
        output,
        failure,
        seconds,
    } = run(name, command, limit)?;
    let outcome = match &failure {
        None => Outcome::Passed,
        Some(Failure::Status) => Outcome::Failed(first_error(&output)),
        Some(Failure::Limit) => Outcome::Failed(killed(limit)),
    };
    let result = TestResult {
        name: name.to_owned(),
        outcome,
        seconds,
    };
    // cargo's JSON messages are for programs only.
    let is_text = |line: &&String| !line.starts_with('{');
    let shown = output.iter().filter(is_text);
    let ran = Ran {
        results: vec![result],
        output: shown.filter(|_| failure.is_some()).cloned().collect(),
    };
    Ok((ran, output))
}

/// Runs a `cargo test`, or one of the programs that it builds, which has a result for each test and is killed after
/// `limit`. The tests belong to `group`, unless cargo's output names another.
pub fn test(name: &str, group: &str, command: &mut Command, limit: Duration) -> io::Result<Ran> {
    let Ended {
        output,
        failure,
        seconds,
    } = run(name, command, limit)?;
    let mut ran = Ran {
        results: parse_tests(group, &output),
        output: Vec::new(),
    };
    let outcome = match &failure {
        None if has_ended(&output) => None,
        None => Some("it did not say how its tests have ended".to_owned()),
        Some(Failure::Limit) => Some(format!("{}: {}", killed(limit), unfinished(&output))),
        // The build failed, or a test ended the whole process.
        Some(Failure::Status) => ran.is_well().then(|| first_error(&output)),
    };
    let has_failed = failure.is_some() || outcome.is_some();
    if let Some(why) = outcome {
        ran.results.push(TestResult {
            name: name.to_owned(),
            outcome: Outcome::Failed(why),
            seconds,
        });
    }
    if has_failed {
        ran.output = output;
    }
    Ok(ran)
}

fn killed(limit: Duration) -> String {
    format!("killed after its limit of {limit:?}")
}

/// [`build::cargo`] with a lower priority than guests: their tests have time limits.
pub fn beside_guests() -> Command {
    let cargo = build::cargo();
    let mut nice = Command::new("nice");
    nice.args(["-n", "10"]).arg(cargo.get_program());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

/// How a command ended.
struct Ended {
    output: Vec<String>,
    failure: Option<Failure>,
    seconds: f64,
}

enum Failure {
    /// Its status says so.
    Status,
    /// It was killed.
    Limit,
}

fn run(name: &str, command: &mut Command, limit: Duration) -> io::Result<Ended> {
    let _running = Running::new(name);
    let started = Instant::now();
    // One pipe for both, so that cargo's lines stay in order among the tests'.
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut process = Guarded::spawn(command)?;
    // `command` holds the pipe's writing end open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let output = Transcript::record(reader)?;
    let ended = process.wait_until(started + limit)?;
    process.kill()?;
    // Processes that it has started may hold the pipe open beyond any useful time.
    let text = output.wait_for_end(Instant::now() + GRACE);
    let text = text.unwrap_or_else(|_| output.text());
    let failure = match ended {
        None => Some(Failure::Limit),
        Some(status) => (!status.success()).then_some(Failure::Status),
    };
    Ok(Ended {
        output: text.lines().map(str::to_owned).collect(),
        failure,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Whether the harness has printed its last line.
fn has_ended(output: &[String]) -> bool {
    output.iter().any(|line| line.starts_with("test result: "))
}

/// The tests that the harness reported as slow, and that have no result.
fn unfinished(output: &[String]) -> String {
    const MISSED: &str = " has been running for over ";
    let missed = output.iter().filter_map(|line| {
        let name = line.strip_prefix("test ")?.split_once(MISSED)?.0;
        let result = format!("test {name} ... ");
        let has_result = output.iter().any(|line| line.starts_with(&result));
        (!has_result).then_some(name)
    });
    missed.collect::<Vec<_>>().join(", ")
}

fn first_error(output: &[String]) -> String {
    let is_error = |line: &&String| line.starts_with("error") || line.starts_with("Diff in");
    let found = output
        .iter()
        .find(is_error)
        .or_else(|| output.iter().rfind(|line| !line.trim().is_empty()));
    found.cloned().unwrap_or_default()
}

/// Parses the output of `cargo test`: `test a::b ... ok` under `Running unittests …` or `Doc-tests …`.
fn parse_tests(group: &str, output: &[String]) -> Vec<TestResult> {
    let mut group = group.to_owned();
    let mut results = Vec::new();
    for line in output {
        let line = line.trim();
        if let Some(running) = line.strip_prefix("Running ") {
            group = test_binary(running).to_owned();
        } else if let Some(name) = line.strip_prefix("Doc-tests ") {
            group = name.to_owned();
        } else if let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        {
            let outcome = match outcome.split_once(", ").unwrap_or((outcome, "")) {
                ("ok", _) => Outcome::Passed,
                ("FAILED", _) => Outcome::Failed("see its output above".to_owned()),
                ("ignored", "") => Outcome::Skipped("marked as ignored".to_owned()),
                ("ignored", why) => Outcome::Skipped(why.to_owned()),
                _ => continue,
            };
            results.push(TestResult {
                name: format!("{group} {name}"),
                outcome,
                seconds: 0.0,
            });
        }
    }
    results
}

/// Returns `faultvisor_tests` for `unittests src/lib.rs (target/debug/deps/faultvisor_tests-5d92c05184e9fad7)`.
fn test_binary(running: &str) -> &str {
    let file = running.rsplit(['/', '(']).next().unwrap_or(running);
    file.split(['-', ')']).next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_has_its_result_and_its_crate() {
        let output = "   Compiling x v0.1.0\n     Running unittests src/lib.rs (target/debug/deps/x_y-5d92)\n\
                      test a::b ... ok\ntest a::c ... FAILED\ntest a::d ... ignored, for want of a disk\n\
                      test a::e ... ignored\n   Doc-tests z\ntest z/src/lib.rs - f (line 3) ... ok\n\
                      test result: FAILED. 2 passed\n";
        let output: Vec<String> = output.lines().map(str::to_owned).collect();
        let results = parse_tests("", &output);
        let names: Vec<_> = results.iter().map(|result| result.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "x_y a::b",
                "x_y a::c",
                "x_y a::d",
                "x_y a::e",
                "z z/src/lib.rs - f (line 3)"
            ]
        );
        assert_eq!(results[0].outcome, Outcome::Passed);
        assert!(matches!(results[1].outcome, Outcome::Failed(_)));
        assert_eq!(
            results[2].outcome,
            Outcome::Skipped("for want of a disk".to_owned())
        );
        assert_eq!(results[4].outcome, Outcome::Passed);
    }

    fn output(script: &str, limit: Duration) -> Ran {
        let mut command = Command::new("sh");
        test("unit tests of x", "x", command.args(["-c", script]), limit).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn tests_killed_at_their_limit_are_named() {
        let script = "echo 'test a ... ok'; echo 'test b has been running for over 60 seconds'; exec sleep 1000";
        let ran = output(script, Duration::from_millis(300));
        assert_eq!(ran.results[0].name, "x a");
        let why = Outcome::Failed("killed after its limit of 300ms: b".to_owned());
        assert_eq!(ran.results[1].outcome, why);
    }

    #[test]
    fn a_test_program_without_a_summary_has_failed() {
        assert!(output("echo 'test result: ok. 0 passed'", LONG).is_well());
        assert!(!output("echo 'test a ... ok'", LONG).is_well());
        assert!(!output("echo 'test a ... ok'; exit 101", LONG).is_well());
    }
}
