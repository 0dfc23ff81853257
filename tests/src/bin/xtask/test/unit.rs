//! Unit tests: built together; each program runs by itself.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::host::Kvm;
use faultvisor_tests::workspace::Workspace;
use serde_json::Value;

use crate::cargo::{self, Ran};

/// Time limit of one program's tests, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);
/// The examples' path: their tests start Linux guests, and the end-to-end tests run them.
const EXAMPLES: &str = "resources/examples";

/// A test program.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// The crate's name, as a prefix of its tests' names.
    pub name: String,
    /// Its path.
    path: PathBuf,
    /// The directory in which cargo runs it.
    package: PathBuf,
}

impl Program {
    /// Runs it, including its ignored tests, which need `/dev/kvm`, if there is one.
    pub fn run(&self, kvm: &Kvm) -> std::io::Result<Ran> {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.package);
        command.env("CARGO_MANIFEST_DIR", &self.package);
        if kvm.is_there() {
            command.arg("--include-ignored");
        }
        let name = format!("unit tests of {}", self.name);
        cargo::test(&name, &self.name, &mut command, LIMIT)
    }

    /// Whether its tests run cargo builds.
    pub fn builds(&self) -> bool {
        matches!(self.name.as_str(), "install" | "agent")
    }
}

/// The command that builds the programs and reports their paths.
pub fn build() -> Command {
    let mut cargo = cargo::beside_guests();
    cargo.args(["test", "--workspace", "--no-run", "--quiet"]);
    cargo.args(["--lib", "--bins", "--tests", "--examples"]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo
}

/// The programs in cargo's messages.
pub fn programs(said: &[String]) -> Vec<Program> {
    let program = |message: &Value| {
        let target = &message["target"];
        let name = target["name"].as_str()?.replace('-', "_");
        let manifest = PathBuf::from(message["manifest_path"].as_str()?);
        let package = manifest.parent()?.to_owned();
        let is_example = package.to_string_lossy().contains(EXAMPLES);
        let is_test = message["profile"]["test"] == true && !is_example;
        is_test.then_some(Program {
            name,
            path: PathBuf::from(message["executable"].as_str()?),
            package,
        })
    };
    said.iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| program(&message))
        .collect()
}

/// Runs the doc tests.
pub fn documentation(workspace: &Workspace) -> std::io::Result<Ran> {
    let mut cargo = cargo::beside_guests();
    cargo.args(["test", "--workspace", "--no-fail-fast", "--doc"]);
    cargo.current_dir(workspace.root());
    cargo::test("doc tests", "", &mut cargo, 2 * LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_run_in_their_packages_directories() {
        let said = r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a-b"},"profile":{"test":true},"executable":"/t/a_b-1"}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"tool"},"profile":{"test":false},"executable":"/t/tool"}
{"reason":"compiler-artifact","manifest_path":"/w/resources/examples/e/Cargo.toml","target":{"name":"disk_error"},"profile":{"test":true},"executable":"/t/disk_error-1"}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a-b"},"profile":{"test":false},"executable":null}
no message
{"reason":"build-finished","success":true}"#;
        let expected = Program {
            name: "a_b".to_owned(),
            path: "/t/a_b-1".into(),
            package: "/w/a".into(),
        };
        let said: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(programs(&said), [expected]);
    }
}
