//! `cargo xtask test`: everything that can be checked, with one closing line.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use faultvisor_tests::packages;
use faultvisor_tests::suite::{Outcome, Size, TestResult, chain};
use faultvisor_tests::workspace::Workspace;

use crate::cargo::{self, Ran};
use crate::e2e::Choice;
use crate::{binaries, console, demo, e2e, fuzz};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only these stages; all if not given.
    #[arg(long = "only", value_enum)]
    stages: Vec<Stage>,
    /// Only end-to-end tests whose names hold this.
    #[arg(long = "name")]
    names: Vec<String>,
}

/// A stage, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Formatting, clippy, documentation.
    Checks,
    /// Unit tests and the examples in the documentation.
    Unit,
    /// A few seconds of each fuzz target.
    Fuzz,
    /// Tests with guests, on this machine's KVM and in the lab.
    E2e,
    /// `cargo xtask demo`, which counts as one test.
    Demo,
    /// The end-to-end tests that have one, in their full size. It takes hours, and runs only if asked for.
    Soak,
}

/// Runs the stages; fails if anything in them does.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let has = |stage| match options.stages.as_slice() {
        [] => stage != Stage::Soak,
        stages => stages.contains(&stage),
    };
    let mut all = Tally::default();
    if has(Stage::Checks) {
        for (name, mut command) in checks(workspace) {
            console::note(name);
            all.add(
                name,
                cargo::check(workspace, name, &mut command)?,
                Shown::Every,
            );
        }
    }
    if has(Stage::Unit) {
        // The C library is tested by programs in C and C++.
        let compilers = [
            packages::CC,
            packages::CXX,
            packages::PKG_CONFIG,
            packages::VALGRIND,
        ];
        packages::ensure_installed(&compilers, &console::note)?;
        for (name, mut command) in unit_tests() {
            console::note(name);
            all.add(
                name,
                cargo::test(workspace, name, &mut command)?,
                Shown::NotPassed,
            );
        }
    }
    if has(Stage::Fuzz) {
        for (name, ran) in fuzz::run(workspace)? {
            all.add(&name, ran, Shown::Every);
        }
    }
    if has(Stage::E2e) {
        all.add_end_to_end(workspace, &options.names, Size::Small);
    }
    if has(Stage::Demo) {
        const NAME: &str = "the demonstration";
        console::note(NAME);
        all.add(NAME, demo::run(workspace), Shown::Every);
    }
    if has(Stage::Soak) {
        all.add_end_to_end(workspace, &options.names, Size::Full);
    }
    console::summary(&all.results, &all.logs);
    let failed = all
        .results
        .iter()
        .any(|result| matches!(result.outcome, Outcome::Failed(_)));
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What is not built unless somebody asks for it.
const OPTIONAL: [&str; 2] = ["--features", "libqmp/tokio"];

fn checks(workspace: &Workspace) -> [(&'static str, Command); 5] {
    let with = |arguments: &[&str]| {
        let mut cargo = cargo::command();
        cargo.args(arguments);
        cargo
    };
    let mut documentation = with(&["doc", "--quiet", "--workspace", "--no-deps"]);
    documentation.args(OPTIONAL);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let mut guest_formatting = with(&["fmt", "--manifest-path"]);
    guest_formatting.args(["resources/guests/bare/Cargo.toml", "--", "--check"]);
    let mut guest_clippy = binaries::bare_guest_command(workspace, "clippy");
    guest_clippy.args(["--", "-D", "warnings"]);
    [
        ("formatting", with(&["fmt", "--all", "--", "--check"])),
        (
            "clippy",
            with(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                OPTIONAL[0],
                OPTIONAL[1],
                "--",
                "-D",
                "warnings",
            ]),
        ),
        ("documentation", documentation),
        ("formatting of the bare-metal guest", guest_formatting),
        ("clippy on the bare-metal guest", guest_clippy),
    ]
}

fn unit_tests() -> [(&'static str, Command); 2] {
    let with = |arguments: &[&str]| {
        let mut cargo = cargo::command();
        cargo
            .args(["test", "--workspace", "--no-fail-fast"])
            // Its tests start Linux guests: the end-to-end tests run it.
            .args(["--exclude", "faultvisor-example"])
            .args(OPTIONAL)
            .args(arguments);
        cargo
    };
    [
        (
            "unit tests",
            with(&["--lib", "--bins", "--tests", "--examples"]),
        ),
        ("doc tests", with(&["--doc"])),
    ]
}

/// Which results are printed at once; all of them are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Every,
    /// There are hundreds of unit tests.
    NotPassed,
}

#[derive(Default)]
struct Tally {
    results: Vec<TestResult>,
    logs: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn add(&mut self, name: &str, ran: Ran, shown: Shown) {
        for line in &ran.output {
            console::line(&format!("   │ {line}"));
        }
        for result in &ran.results {
            if shown == Shown::Every || result.outcome != Outcome::Passed {
                console::result(result);
            }
        }
        if shown == Shown::NotPassed {
            let passed = ran
                .results
                .iter()
                .filter(|result| result.outcome == Outcome::Passed)
                .count();
            console::line(&format!("   {passed} {name} passed"));
        }
        self.results.extend(ran.results);
    }

    fn add_end_to_end(&mut self, workspace: &Workspace, names: &[String], size: Size) {
        match e2e::run(workspace, &Choice { names, size }) {
            Ok((results, logs)) => {
                self.results.extend(results);
                self.logs.extend(logs);
            }
            Err(error) => self.results.push(TestResult {
                name: "end-to-end tests".to_owned(),
                outcome: Outcome::Failed(chain(error.as_ref())),
                seconds: 0.0,
            }),
        }
    }
}
