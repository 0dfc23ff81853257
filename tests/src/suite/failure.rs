//! Why a test did not pass.

use std::error::Error;

/// Why a test did not pass. `?` converts any error, with its sources.
#[derive(Debug)]
pub enum Failure {
    /// The behaviour differs from what the test expects.
    Failed(String),
    /// The test cannot run here.
    Skipped(String),
}

impl Failure {
    /// The behaviour differs from what the test expects.
    pub fn new(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// The test cannot run here.
    pub fn skip(why: impl Into<String>) -> Self {
        Self::Skipped(why.into())
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(chain(&error))
    }
}

/// An error and its sources in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultvisor_harness::Process;
    use std::process::Command;

    #[test]
    fn a_failure_lists_an_errors_sources() {
        let error = Process::spawn(&mut Command::new("/no/such/program")).unwrap_err();
        let Failure::Failed(why) = Failure::from(error) else {
            panic!()
        };
        assert_eq!(
            why,
            "cannot start 'program': No such file or directory (os error 2)"
        );
    }
}
