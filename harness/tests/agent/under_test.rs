//! An agent under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use faultvisor_harness::guest::connect::Address;
use faultvisor_harness::{Guest, Process};
use tempfile::TempDir;

/// The time limit for what takes a moment.
pub const SOON: Duration = Duration::from_secs(30);

/// An agent that runs until this is dropped.
pub struct Agent {
    pub guest: Guest,
    pub directory: TempDir,
    _process: Process,
}

impl Agent {
    /// Starts one.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent");
        // Some signals are ignored, as in what a shell starts in the background.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' INT QUIT; exec \"$0\" \"$@\""]);
        command.arg(built()).arg("--listen");
        command.arg(format!("unix:{}", socket.display()));
        let mut process = Process::spawn(&mut command).unwrap();
        process
            .console()
            .wait_for_line("listening on ", SOON)
            .unwrap();
        Self {
            guest: Guest::at(Address::Unix(socket)),
            directory,
            _process: process,
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The agent's program, built as for a guest.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(program) = env::var_os("FAULTVISOR_AGENT") {
            return program.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let agent = root.join("resources/guests/agent");
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let target = root.join(target).join("guests");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET");
        cargo.args(["build", "--quiet", "--release", "--config"]);
        cargo.arg(agent.join(".cargo/config.toml"));
        cargo.arg("--manifest-path").arg(agent.join("Cargo.toml"));
        cargo.arg("--target-dir").arg(&target);
        assert!(cargo.status().unwrap().success());
        target.join("x86_64-unknown-linux-gnu/release/faultvisor-agent")
    })
}
