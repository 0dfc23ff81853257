//! The end-to-end tests: on this machine, and in several labs.

mod here;
mod in_lab;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::debian::DebianImages;
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab;
use faultvisor_tests::qemu_schema::{self, QemuSchema};
use faultvisor_tests::suite::{Outcome, Part, Record, Report, Size, TestResult, chain};
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::binaries::Binaries;
use crate::examples::Examples;
use crate::progress::Running;
use crate::{console, debian};

pub use here::{Here, run as run_here};
pub use in_lab::run as run_in_lab;

/// Time limit of all tests on this machine or in a lab: far more than they take.
const fn limit(size: Size) -> Duration {
    Duration::from_secs(60 * size.choose(25, 600))
}

/// The end-to-end tests' results and the logs of those that failed.
pub type Results = (Vec<TestResult>, BTreeMap<String, Vec<String>>);

/// What is built for the tests.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The programs under test, and the tests.
    pub binaries: Binaries,
    /// The examples.
    pub examples: Examples,
}

/// Images for guests and labs. Without them each test that needs them fails by name, with the reason.
#[derive(Debug, Clone)]
pub struct Images {
    /// The guest's.
    pub guest: Result<GuestImages, String>,
    /// The lab's, if one is needed.
    pub lab: Result<lab::Images, String>,
}

impl Images {
    /// Builds the images.
    pub fn build(workspace: &Workspace, kvm: &Kvm) -> Result<Self, Box<dyn Error>> {
        let guest = guest::build(workspace, &console::note);
        if let Ok(images) = &guest
            && let Err(error) = guest::build_tools(workspace, images, &console::note)
        {
            if in_ci() {
                return Err(error.into());
            }
            // Tests that need them are skipped with the reason.
            console::note(&chain(&error));
        }
        let lab = if kvm.runs_linux() {
            Err("Linux guests run without one".to_owned())
        } else {
            lab::build(workspace, &console::note).map_err(|error| chain(&error))
        };
        Ok(Self {
            guest: guest.map_err(|error| chain(&error)),
            lab,
        })
    }
}

/// A selection of tests, run one after the other.
#[derive(Debug, Clone)]
pub struct Choice<'a> {
    /// Those that need one of these.
    pub needs: &'static [&'static str],
    /// Those whose names contain one of these; all if empty.
    pub names: &'a [String],
    /// In the full size, only those that have one.
    pub size: Size,
    /// One of several parts of them.
    pub part: Part,
}

impl Choice<'_> {
    /// Arguments for the tests' program.
    fn arguments(&self) -> Vec<String> {
        let mut options = Vec::new();
        for needed in self.needs {
            options.extend(["--needs".to_owned(), (*needed).to_owned()]);
        }
        for name in self.names {
            options.extend(["--name".to_owned(), name.clone()]);
        }
        let Part { index, count } = self.part;
        options.extend(["--part".to_owned(), format!("{}/{count}", index + 1)]);
        options
    }

    /// The names of the tests.
    pub fn names(&self, binaries: &Binaries) -> Result<Vec<String>, ToolError> {
        let mut list = Command::new(&binaries.e2e);
        list.arg("list").args(self.arguments());
        if self.size == Size::Full {
            list.arg("--full-size");
        }
        let list = tool::output(&mut list)?;
        let list = String::from_utf8_lossy(&list);
        Ok(list.lines().map(str::to_owned).collect())
    }
}

/// Builds Debian, if possible.
pub fn debian(workspace: &Workspace) -> Result<Option<DebianImages>, Box<dyn Error>> {
    match debian::build(workspace) {
        Ok(images) => Ok(Some(images)),
        Err(error) if in_ci() => Err(error),
        Err(error) => {
            // Its tests are skipped with the reason.
            console::note(&chain(error.as_ref()));
            Ok(None)
        }
    }
}

/// Fetches QEMU's schema, if possible.
pub fn qemu_schema(workspace: &Workspace) -> Result<Option<QemuSchema>, Box<dyn Error>> {
    match qemu_schema::fetch(workspace, &console::note) {
        Ok(schema) => Ok(Some(schema)),
        Err(error) if in_ci() => Err(error.into()),
        Err(error) => {
            // Its tests are skipped with the reason.
            console::note(&chain(&error));
            Ok(None)
        }
    }
}

/// Takes a line of the tests' output.
fn take(report: &mut Report, line: &str, running: &Running) {
    match report.line(line) {
        Some(Record::Start(name)) => running.part(&name),
        Some(Record::Result(result)) => console::result(&result),
        Some(Record::Note { text, .. }) => console::line(&format!("   {text}")),
        Some(_) => {}
        None => console::line(&format!("   │ {line}")),
    }
}

/// Skips by name each test whose requirement is missing; in CI fails it, where a skip would go unnoticed.
fn without(names: Vec<String>, why: &str) -> Results {
    let outcome = if in_ci() {
        Outcome::Failed(why.to_owned())
    } else {
        Outcome::Skipped(why.to_owned())
    };
    let result = |name: String| TestResult {
        name,
        outcome: outcome.clone(),
        seconds: 0.0,
    };
    let results: Vec<TestResult> = names.into_iter().map(result).collect();
    results.iter().for_each(console::result);
    (results, BTreeMap::new())
}

/// Whether this is CI, where nobody sees what is skipped.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
