//! Output to the user.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Arguments;
use std::io::{self, Write};

use faultvisor_tests::suite::{Outcome, TestResult, chain};

use crate::progress;

/// Number of slowest items named at the end.
const SLOWEST: usize = 10;

/// Ignores a closed output, as with `head`.
fn say(text: Arguments<'_>) {
    progress::above_status(|to| {
        let _ = writeln!(to, "{text}");
    });
}

/// Reports progress.
pub fn note(text: &str) {
    say(format_args!("── {text}"));
}

/// Prints a result of a command.
pub fn line(text: &str) {
    say(format_args!("{text}"));
}

/// Prints why a command failed.
pub fn error(error: &dyn Error) {
    // A write error can be reported nowhere else.
    let _ = writeln!(io::stderr(), "xtask: {}", chain(error));
}

/// Prints a test's result as it arrives.
pub fn result(result: &TestResult) {
    let TestResult {
        name,
        outcome,
        seconds,
    } = result;
    match outcome {
        Outcome::Passed => say(format_args!("   ok       {seconds:7.2} s  {name}")),
        Outcome::Failed(why) => say(format_args!("   FAILED   {seconds:7.2} s  {name}: {why}")),
        Outcome::Skipped(why) => say(format_args!("   skipped             {name}: {why}")),
    }
}

/// Prints the slowest items.
pub fn slowest(times: &[(String, f64)]) {
    let mut times: Vec<_> = times.iter().collect();
    times.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    say(format_args!("\nthe slowest:"));
    for (name, seconds) in times.into_iter().take(SLOWEST) {
        say(format_args!("   {seconds:7.2} s  {name}"));
    }
}

/// Prints the logs of failed tests, each failed or skipped test with its reason, and the closing line.
pub fn summary(results: &[TestResult], logs: &BTreeMap<String, Vec<String>>) {
    say(format_args!(""));
    for result in results
        .iter()
        .filter(|result| matches!(result.outcome, Outcome::Failed(_)))
    {
        for text in logs.get(&result.name).into_iter().flatten() {
            say(format_args!("{}: {text}", result.name));
        }
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for TestResult { name, outcome, .. } in results {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Failed(why) => {
                failed += 1;
                say(format_args!("FAILED {name}: {why}"));
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                say(format_args!("skipped {name}: {why}"));
            }
        }
    }
    say(format_args!(
        "{passed} passed, {failed} failed, {skipped} skipped"
    ));
}
