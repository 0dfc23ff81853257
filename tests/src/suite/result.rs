//! Results as lines of text, for a console shared with kernel messages.
//!
//! ```text
//! FV-START <name>
//! FV-NOTE <name> <a figure worth knowing>
//! FV-LOG <name> <a line of a failed test's log>
//! FV-TEST <name> ok|FAILED|skipped <seconds> <why>
//! FV-END <number of results>
//! ```
//!
//! A missing result is a failure: of a test that started, and of a run without an end or with another number of
//! results.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

const START: &str = "FV-START ";
const NOTE: &str = "FV-NOTE ";
const LOG: &str = "FV-LOG ";
const TEST: &str = "FV-TEST ";
const END: &str = "FV-END ";

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed, with the reason.
    Failed(String),
    /// It could not run, with the reason.
    Skipped(String),
}

/// A test and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// The test's name: one word.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// One line of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A test starts.
    Start(String),
    /// A figure worth knowing.
    Note {
        /// The test's name.
        name: String,
        /// The figure.
        text: String,
    },
    /// A line of a failed test's log.
    Log {
        /// The test's name.
        name: String,
        /// The line.
        text: String,
    },
    /// A test ended.
    Result(TestResult),
    /// All tests ended.
    End {
        /// Number of results.
        results: usize,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(name) => write!(f, "{START}{name}"),
            Self::Note { name, text } => write!(f, "{NOTE}{name} {text}"),
            Self::Log { name, text } => write!(f, "{LOG}{name} {text}"),
            Self::Result(TestResult {
                name,
                outcome,
                seconds,
            }) => {
                let (word, why) = match outcome {
                    Outcome::Passed => ("ok", ""),
                    Outcome::Failed(why) => ("FAILED", why.as_str()),
                    Outcome::Skipped(why) => ("skipped", why.as_str()),
                };
                write!(f, "{TEST}{name} {word} {seconds:.3}")?;
                // Joins a reason of several lines.
                let mut lines = why.lines().filter(|line| !line.is_empty());
                lines.next().map_or(Ok(()), |line| write!(f, " {line}"))?;
                lines.try_for_each(|line| write!(f, "; {line}"))
            }
            Self::End { results } => write!(f, "{END}{results}"),
        }
    }
}

impl FromStr for Record {
    type Err = ();

    /// Finds the record in a line, after any other text: other writers to a console do not always end their lines.
    fn from_str(line: &str) -> Result<Self, ()> {
        let behind = |marker: &str| line.find(marker).map(|at| &line[at + marker.len()..]);
        // First, since a log may quote any other record.
        let named = |rest: &str| {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            (name.to_owned(), text.to_owned())
        };
        if let Some((name, text)) = behind(LOG).map(named) {
            return Ok(Self::Log { name, text });
        }
        if let Some((name, text)) = behind(NOTE).map(named) {
            return Ok(Self::Note { name, text });
        }
        if let Some(rest) = behind(START) {
            return Ok(Self::Start(rest.trim().to_owned()));
        }
        if let Some(rest) = behind(END) {
            return Ok(Self::End {
                results: rest.trim().parse().map_err(drop)?,
            });
        }
        let mut words = behind(TEST).ok_or(())?.splitn(4, ' ');
        let mut word = || words.next().ok_or(());
        let (name, outcome, seconds) = (word()?.to_owned(), word()?, word()?);
        let why = word().unwrap_or_default().to_owned();
        let outcome = match outcome {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed(why),
            "skipped" => Outcome::Skipped(why),
            _ => return Err(()),
        };
        Ok(Self::Result(TestResult {
            name,
            outcome,
            seconds: seconds.trim().parse().map_err(drop)?,
        }))
    }
}

/// Collects the results from a console's lines.
#[derive(Debug, Default)]
pub struct Report {
    results: Vec<TestResult>,
    logs: BTreeMap<String, Vec<String>>,
    running: Option<String>,
    announced: Option<usize>,
}

impl Report {
    /// Takes a line, and returns its record if it is part of the protocol.
    pub fn line(&mut self, line: &str) -> Option<Record> {
        let record: Record = line.parse().ok()?;
        match &record {
            Record::Start(name) => {
                self.close_running("the next test started before its result was known");
                self.running = Some(name.clone());
            }
            Record::Note { .. } => {}
            Record::Log { name, text } => self
                .logs
                .entry(name.clone())
                .or_default()
                .push(text.clone()),
            Record::Result(result) => {
                self.running = None;
                self.results.push(result.clone());
            }
            Record::End { results } => self.announced = Some(*results),
        }
        Some(record)
    }

    /// The results, in order; `run` names the whole run, for failures of its own. `ended` is the run's own failure, if
    /// any.
    pub fn finish(
        mut self,
        run: &str,
        ended: Option<&str>,
    ) -> (Vec<TestResult>, BTreeMap<String, Vec<String>>) {
        let received = self.results.len();
        self.close_running(ended.unwrap_or("the run ended before its result was known"));
        let why = match (ended, self.announced) {
            (Some(why), _) => Some(why.to_owned()),
            (None, None) => Some("the run did not say that all tests have ended".to_owned()),
            (None, Some(announced)) if announced != received => {
                Some(format!("of {announced} results {received} arrived"))
            }
            (None, Some(_)) => None,
        };
        if let Some(why) = why {
            let outcome = Outcome::Failed(why);
            self.results.push(TestResult {
                name: run.to_owned(),
                outcome,
                seconds: 0.0,
            });
        }
        (self.results, self.logs)
    }

    fn close_running(&mut self, why: &str) {
        if let Some(name) = self.running.take() {
            let outcome = Outcome::Failed(why.to_owned());
            self.results.push(TestResult {
                name,
                outcome,
                seconds: 0.0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names_and_outcomes(results: &[TestResult]) -> Vec<(&str, &Outcome)> {
        results
            .iter()
            .map(|result| (result.name.as_str(), &result.outcome))
            .collect()
    }

    #[test]
    fn results_are_parsed_from_a_noisy_console() {
        let mut report = Report::default();
        for line in [
            "FV-START a_disk_reads_back",
            "FV-NOTE a_disk_reads_back 7 reads",
            "[    1.000000] noise without an end FV-TEST a_disk_reads_back ok 1.250",
            "FV-START it_fails",
            "FV-LOG it_fails FV-TEST x ok 1.0",
            "FV-TEST it_fails FAILED 0.100 2 is not 3",
            "unrelated",
            "FV-END 2",
        ] {
            report.line(line);
        }
        let (results, logs) = report.finish("the lab", None);
        let failed = Outcome::Failed("2 is not 3".to_owned());
        assert_eq!(
            names_and_outcomes(&results),
            [
                ("a_disk_reads_back", &Outcome::Passed),
                ("it_fails", &failed)
            ]
        );
        assert_eq!(logs["it_fails"], ["FV-TEST x ok 1.0"]);
    }

    #[test]
    fn a_missing_result_is_a_failure() {
        let mut report = Report::default();
        for line in [
            "FV-START one",
            "FV-START two",
            "FV-TEST two ok 1.0",
            "FV-START three",
        ] {
            report.line(line);
        }
        let (results, _) = report.finish("the lab", Some("it was killed"));
        let failed: Vec<&str> = results
            .iter()
            .filter(|r| r.outcome != Outcome::Passed)
            .map(|r| r.name.as_str())
            .collect();
        assert_eq!(failed, ["one", "three", "the lab"]);

        let mut report = Report::default();
        report.line("FV-TEST two ok 1.0");
        report.line("FV-END 2");
        let (results, _) = report.finish("the lab", None);
        assert_eq!(
            results[1].outcome,
            Outcome::Failed("of 2 results 1 arrived".to_owned())
        );
    }

    proptest! {
        #[test]
        fn a_result_reads_back_as_written(
            name in "[a-z][a-z0-9_]{0,40}",
            why in "([!-~]( [!-~])*)?",
            milliseconds in 0_u32..1_000_000,
            kind in 0..3,
        ) {
            let outcome = match kind {
                0 => Outcome::Passed,
                1 => Outcome::Failed(why),
                _ => Outcome::Skipped(why),
            };
            let record = Record::Result(TestResult { name, outcome, seconds: f64::from(milliseconds) / 1000.0 });
            prop_assert_eq!(record.to_string().parse(), Ok(record));
        }
    }
}
