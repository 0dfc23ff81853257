//! Results of jobs that run in parallel.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use faultvisor_tests::suite::{Outcome, TestResult};

use crate::cargo::Ran;
use crate::console;
use crate::e2e::Results;

/// Which results are printed at once; all are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    Every,
    /// There are hundreds of unit tests.
    NotPassed,
}

/// All results, the logs of failed tests, and all durations.
#[derive(Default)]
pub struct Tally(Mutex<Found>);

#[derive(Default)]
struct Found {
    results: Vec<TestResult>,
    logs: BTreeMap<String, Vec<String>>,
    times: Vec<(String, f64)>,
}

impl Tally {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command's results, and prints them.
    pub fn add(&self, name: &str, ran: Ran, shown: Shown) {
        if !ran.output.is_empty() {
            let lines = ran.output.iter().map(|line| format!("   │ {line}"));
            console::line(&lines.collect::<Vec<_>>().join("\n"));
        }
        for result in &ran.results {
            if shown == Shown::Every || result.outcome != Outcome::Passed {
                console::result(result);
            }
        }
        if shown == Shown::NotPassed {
            let has_passed = |result: &&TestResult| result.outcome == Outcome::Passed;
            let passed = ran.results.iter().filter(has_passed).count();
            console::line(&format!("   {passed} {name} passed"));
        }
        self.add_end_to_end((ran.results, BTreeMap::new()));
    }

    /// Adds results that were printed before.
    pub fn add_end_to_end(&self, (results, logs): Results) {
        let mut found = self.found();
        for TestResult { name, seconds, .. } in &results {
            found.times.push((name.clone(), *seconds));
        }
        found.results.extend(results);
        found.logs.extend(logs);
    }

    /// Adds the failure of a whole job.
    pub fn failed(&self, name: &str, why: &str) {
        let result = TestResult {
            name: name.to_owned(),
            outcome: Outcome::Failed(why.to_owned()),
            seconds: 0.0,
        };
        console::result(&result);
        self.found().results.push(result);
    }

    /// Adds the duration of something other than a test.
    pub fn took(&self, name: &str, seconds: f64) {
        self.found().times.push((name.to_owned(), seconds));
    }

    /// Prints the summary, and returns whether nothing failed.
    pub fn summary(&self) -> bool {
        let found = self.found();
        console::slowest(&found.times);
        console::summary(&found.results, &found.logs);
        let has_failed = |result: &TestResult| matches!(result.outcome, Outcome::Failed(_));
        !found.results.iter().any(has_failed)
    }
}
