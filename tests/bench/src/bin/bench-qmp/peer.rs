//! The other processes of a measurement.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use faultvisor_harness::child::Guarded;
use libqmp::Session;
use tempfile::TempDir;

use crate::Measured;
use crate::client::{Client, PATIENCE};
use crate::cpus::Cpus;

/// A process that listens on a unix socket. Dropping it kills it.
pub struct Peer {
    process: Guarded,
    socket: PathBuf,
    input: Option<ChildStdin>,
    /// The path of its socket.
    _directory: TempDir,
}

impl Peer {
    /// Starts the command that `command` returns for a directory and the path of a socket in it.
    pub fn start(
        cpus: &Cpus,
        command: impl FnOnce(&Path, &Path) -> io::Result<Command>,
    ) -> Measured<Self> {
        let directory = tempfile::Builder::new().prefix("fv-").tempdir()?;
        let socket = directory.path().join("socket");
        let mut command = command(directory.path(), &socket)?;
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = cpus.for_peers(|| Guarded::spawn(&mut command))??;
        Ok(Self {
            input: process.child().stdin.take(),
            process,
            socket,
            _directory: directory,
        })
    }

    fn of_this_program(cpus: &Cpus, role: &str) -> Measured<Self> {
        let program = env::current_exe()?;
        Self::start(cpus, |_, socket| {
            let mut command = Command::new(program);
            command.args([OsStr::new(role), socket.as_os_str()]);
            Ok(command)
        })
    }

    /// An echo.
    pub fn echo(cpus: &Cpus) -> Measured<Self> {
        Self::of_this_program(cpus, "echo")
    }

    /// A monitor whose events are raised by [`raise`](Self::raise).
    pub fn host(cpus: &Cpus) -> Measured<Self> {
        Self::of_this_program(cpus, "host")
    }

    /// Connects as soon as the process listens.
    pub fn connect(&self) -> Measured<Client> {
        Client::connect(&self.socket)
    }

    /// Connects a client that has negotiated, without default events where the server can disable them.
    pub fn client(&self) -> Measured<Client> {
        let mut client = self.connect()?;
        client.negotiate()?;
        Ok(client)
    }

    /// Connects a session of the typed client.
    pub fn session(&self) -> Measured<Session> {
        let address = format!("unix:{}", self.socket.display());
        Ok(Session::options().within(PATIENCE).connect(&address)?)
    }

    /// Has the host raise `count` events, numbered from `first` on.
    pub fn raise(&mut self, count: u64, first: u64) -> Measured {
        let input = self.input.as_mut().ok_or("a child without its pipe")?;
        Ok(input.write_all(format!("{count} {first}\n").as_bytes())?)
    }

    /// Its resident memory.
    pub fn resident_kib(&self) -> Measured<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id()))?;
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let number = resident.and_then(|rest| rest.trim().strip_suffix(" kB"));
        Ok(number.ok_or("no Rss in smaps_rollup")?.parse()?)
    }
}
