//! Cargo's own checks and tests, and what their output says.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

use faultvisor_tests::suite::{Outcome, TestResult};
use faultvisor_tests::workspace::Workspace;

/// What one cargo command amounted to.
pub struct Ran {
    /// Its results.
    pub results: Vec<TestResult>,
    /// All of its output, if anything failed.
    pub output: Vec<String>,
}

/// Runs a command that passes or fails as a whole.
pub fn check(workspace: &Workspace, name: &str, command: &mut Command) -> io::Result<Ran> {
    let started = Instant::now();
    let (succeeded, output) = run(workspace, command)?;
    let outcome = if succeeded {
        Outcome::Passed
    } else {
        Outcome::Failed(first_error(&output))
    };
    let result = TestResult {
        name: name.to_owned(),
        outcome,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok(Ran {
        results: vec![result],
        output: if succeeded { Vec::new() } else { output },
    })
}

/// Runs a `cargo test`, which has a result for each test.
pub fn test(workspace: &Workspace, name: &str, command: &mut Command) -> io::Result<Ran> {
    let started = Instant::now();
    let (succeeded, output) = run(workspace, command)?;
    let mut results = parse_tests(&output);
    let has_failed = |result: &TestResult| matches!(result.outcome, Outcome::Failed(_));
    if !succeeded && !results.iter().any(has_failed) {
        // It did not build, or a test took its whole process with it.
        let outcome = Outcome::Failed(first_error(&output));
        results.push(TestResult {
            name: name.to_owned(),
            outcome,
            seconds: started.elapsed().as_secs_f64(),
        });
    }
    Ok(Ran {
        results,
        output: if succeeded { Vec::new() } else { output },
    })
}

/// The cargo that this was started by.
pub fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TERM_COLOR", "never");
    // What `cargo run` has set for this program is about this program.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn run(workspace: &Workspace, command: &mut Command) -> io::Result<(bool, Vec<String>)> {
    // One pipe for both, so that cargo's lines stay where they belong among its tests'.
    let (mut reader, writer) = io::pipe()?;
    command.current_dir(workspace.root()).stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the pipe's other end open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut output = Vec::new();
    reader.read_to_end(&mut output)?;
    let succeeded = child.wait()?.success();
    Ok((
        succeeded,
        String::from_utf8_lossy(&output)
            .lines()
            .map(str::to_owned)
            .collect(),
    ))
}

fn first_error(output: &[String]) -> String {
    let is_error = |line: &&String| line.starts_with("error") || line.starts_with("Diff in");
    let found = output
        .iter()
        .find(is_error)
        .or_else(|| output.iter().rfind(|line| !line.trim().is_empty()));
    found.cloned().unwrap_or_default()
}

/// The results in the output of `cargo test`: `test a::b ... ok` under `Running unittests …` or `Doc-tests …`.
fn parse_tests(output: &[String]) -> Vec<TestResult> {
    let mut group = String::new();
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

/// `faultvisor_tests` in `unittests src/lib.rs (target/debug/deps/faultvisor_tests-5d92c05184e9fad7)`.
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
        let results = parse_tests(&output);
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
}
