//! Defines, runs and reports end-to-end tests.
//!
//! A test is a function from a [`Context`] to a result, its name a sentence about behaviour. The binary `e2e` runs
//! them: on this machine if its KVM can, otherwise in the lab, as the same static binary. Each test has its own
//! process, so that a crash or a hang affects no other.

mod context;
mod failure;
mod result;
mod runner;

use std::time::Duration;

pub use context::{Context, DebianPlace, Place};
pub use failure::{Failure, chain};
pub use result::{Outcome, Record, Report, TestResult};
pub use runner::{Part, Selection, run_all, run_one, selected};

/// What a test requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Only the program.
    Nothing,
    /// Any /dev/kvm.
    Kvm,
    /// A /dev/kvm that runs Linux guests, and the guest's images.
    Linux,
    /// A /dev/kvm that runs Linux guests, and Debian's disk.
    Debian,
}

/// The size of tests that have sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Size {
    /// Seconds each, for every complete run.
    #[default]
    Small,
    /// Realistic size.
    Full,
}

impl Size {
    /// Selects one of two values by the size.
    pub const fn choose<T: Copy>(self, small: T, full: T) -> T {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }
}

/// One end-to-end test.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// A sentence about behaviour, such as `a_full_disk_stops_the_machine`.
    pub name: &'static str,
    /// What it requires.
    pub needs: Needs,
    /// It is killed, and has failed, after this time, in the small size.
    pub limit: Duration,
    /// Whether it has a full size too.
    pub has_sizes: bool,
    /// The test.
    pub run: fn(&Context) -> Result<(), Failure>,
}

impl Test {
    /// A test with the default limit: many times a Linux guest's boot time in the lab.
    pub const fn new(
        name: &'static str,
        needs: Needs,
        run: fn(&Context) -> Result<(), Failure>,
    ) -> Self {
        Self {
            name,
            needs,
            limit: Duration::from_secs(150),
            has_sizes: false,
            run,
        }
    }

    /// The same test with another limit.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same test with sizes, which may take longer even in the small one.
    #[must_use]
    pub const fn with_sizes(mut self) -> Self {
        self.has_sizes = true;
        self.limit = Duration::from_secs(400);
        self
    }

    /// Its limit in a size.
    pub fn limit_in(&self, size: Size) -> Duration {
        self.limit * size.choose(1, 40)
    }
}

/// Lists tests by their functions: `tests![Needs::Linux; a_disk_reads_back, a_full_disk_stops_the_machine]`; those that
/// have a full size too, `tests![Needs::Linux, with sizes; a_large_disk_reads_back]`.
#[macro_export]
macro_rules! tests {
    ($needs:expr; $($name:ident),+ $(,)?) => {
        &[$($crate::suite::Test::new(stringify!($name), $needs, $name)),+]
    };
    ($needs:expr, with sizes; $($name:ident),+ $(,)?) => {
        &[$($crate::suite::Test::new(stringify!($name), $needs, $name).with_sizes()),+]
    };
}

/// Fails the test unless a condition holds: `check!(status == 0, "mount ended with {status}")`.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::suite::Failure::new(format!($($message)+)));
        }
    };
}

/// Fails the test unless both sides are equal: `check_eq!(reply["status"], "io-error")`.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) => $crate::check!(
                *left == *right,
                "{} is {left:?}, not {right:?}",
                stringify!($left)
            ),
        }
    };
}
