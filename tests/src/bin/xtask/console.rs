//! What the user sees.

#![expect(clippy::print_stdout, reason = "printing is this module's purpose")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};

use faultvisor_tests::suite::{Outcome, TestResult, chain};

/// Says what is being done.
pub fn note(text: &str) {
    println!("── {text}");
}

/// Prints a result of a command.
pub fn line(text: &str) {
    println!("{text}");
}

/// Says why a command cannot be done.
pub fn error(error: &dyn Error) {
    // There is no better place if this fails too.
    let _ = writeln!(io::stderr(), "xtask: {}", chain(error));
}

/// Prints a test's result as it comes.
pub fn result(result: &TestResult) {
    let TestResult {
        name,
        outcome,
        seconds,
    } = result;
    match outcome {
        Outcome::Passed => println!("   ok       {seconds:7.2} s  {name}"),
        Outcome::Failed(why) => println!("   FAILED   {seconds:7.2} s  {name}: {why}"),
        Outcome::Skipped(why) => println!("   skipped             {name}: {why}"),
    }
}

/// Prints what failed tests have collected, each test that failed or was skipped with why, and the closing line.
pub fn summary(results: &[TestResult], logs: &BTreeMap<String, Vec<String>>) {
    println!();
    for result in results
        .iter()
        .filter(|result| matches!(result.outcome, Outcome::Failed(_)))
    {
        for text in logs.get(&result.name).into_iter().flatten() {
            println!("{}: {text}", result.name);
        }
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for TestResult { name, outcome, .. } in results {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Failed(why) => {
                failed += 1;
                println!("FAILED {name}: {why}");
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("skipped {name}: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
}
