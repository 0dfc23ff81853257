//! A machine for a test, from its start to its end.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use libqmp::Session;
use tempfile::TempDir;

use crate::builder::Builder;
use crate::console::Console;
use crate::disk::Attached;
use crate::error::{Error, Said};
use crate::guest::{Command, Copied, Forward, Guest, GuestError, Output, Running, Watch};
use crate::process::Process;
use crate::transcript::Transcript;

/// A running machine, with its serial console and a session with its monitor. Dropping it kills it.
#[derive(Debug)]
pub struct Machine {
    watch: Option<Watch>,
    qmp: Session,
    process: Process,
    disks: Vec<Attached>,
    directory: TempDir,
    timeout: Duration,
}

impl Machine {
    /// A machine that starts `kernel`.
    pub fn builder(kernel: impl Into<PathBuf>) -> Builder {
        Builder::new(kernel.into())
    }

    pub(crate) fn new(
        watch: Option<Watch>,
        qmp: Session,
        process: Process,
        disks: Vec<Attached>,
        directory: TempDir,
        timeout: Duration,
    ) -> Self {
        Self {
            watch,
            qmp,
            process,
            disks,
            directory,
            timeout,
        }
    }

    /// The session with its monitor. Clones of it can be used on other threads.
    pub fn qmp(&self) -> &Session {
        &self.qmp
    }

    /// Its serial console.
    pub fn console(&mut self) -> &mut Console {
        self.process.console()
    }

    /// The guest's agent, for a machine that was built with [`Builder::vsock`].
    ///
    /// # Errors
    ///
    /// The machine has no vsock device.
    pub fn guest(&self) -> Result<&Guest, Error> {
        let watch = self.watch.as_ref().ok_or(GuestError::NoVsock)?;
        Ok(watch.guest())
    }

    /// Waits until the guest's agent is ready. It ends at once when the machine does, or when the guest panics.
    ///
    /// # Errors
    ///
    /// The agent is not ready in time, or never will be.
    pub fn wait_for_agent(&self, within: Duration) -> Result<(), Error> {
        let waited = self.guest()?.wait_until_ready(within);
        waited.map_err(|error| self.explained(error))
    }

    /// Runs a program in the guest until it ends, at the latest when its time limit has passed.
    ///
    /// # Errors
    ///
    /// It cannot be run, or the guest ends. That it fails is an [`Output`].
    pub fn run(&self, command: impl Into<Command>) -> Result<Output, Error> {
        let ran = self.guest()?.run(command);
        ran.map_err(|error| self.explained(error))
    }

    /// Starts a program in the guest.
    ///
    /// # Errors
    ///
    /// It cannot be run, or the guest ends.
    pub fn spawn(&self, command: impl Into<Command>) -> Result<Running, Error> {
        let spawned = self.guest()?.spawn(command);
        spawned.map_err(|error| self.explained(error))
    }

    /// Copies a file or a tree of the host's into the guest: [`Guest::copy_in`].
    ///
    /// # Errors
    ///
    /// Something cannot be read here or written there, or the guest ends.
    pub fn copy_in(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Copied, Error> {
        let copied = self.guest()?.copy_in(from, to);
        copied.map_err(|error| self.explained(error))
    }

    /// Copies a file or a tree of the guest's to the host: [`Guest::copy_out`].
    ///
    /// # Errors
    ///
    /// Something cannot be read there or written here, or the guest ends.
    pub fn copy_out(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Copied, Error> {
        let copied = self.guest()?.copy_out(from, to);
        copied.map_err(|error| self.explained(error))
    }

    /// Connects to a TCP port of the guest's loopback.
    ///
    /// # Errors
    ///
    /// Nothing listens on the port, or the guest ends.
    pub fn tcp(&self, port: u16) -> Result<UnixStream, Error> {
        let connected = self.guest()?.tcp(port);
        connected.map_err(|error| self.explained(error))
    }

    /// Listens on a port of this host's loopback, and passes each connection to a TCP port of the guest's.
    ///
    /// # Errors
    ///
    /// The host refuses a port.
    pub fn forward(&self, port: u16) -> Result<Forward, Error> {
        Ok(self.guest()?.forward(port)?)
    }

    /// An error of the guest's, with what the machine said unless the agent explains it itself.
    fn explained(&self, error: GuestError) -> Error {
        let said = match &error {
            GuestError::Failed { .. } => Said::default(),
            _ => Said::until_now(self.process.serial(), self.process.messages()),
        };
        let error = Box::new(error);
        Error::Guest { error, said }
    }

    /// The program's stderr until now.
    pub fn messages(&self) -> &Transcript {
        self.process.messages()
    }

    /// The address of its monitor, for other clients.
    pub fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// The socket of its vsock device, if it has one: for [`Address::Vsock`](crate::guest::connect::Address).
    pub fn vsock_socket(&self) -> PathBuf {
        vsock(self.directory.path())
    }

    /// The image of a disk.
    pub fn image(&self, id: &str) -> Option<&Path> {
        let disk = self.disks.iter().find(|disk| disk.id == id);
        disk.map(|disk| disk.image.as_path())
    }

    /// A directory that is removed with the machine.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The ID of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the program ends.
    pub fn wait_for_exit(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        self.process.wait_for_exit(within)
    }

    /// Waits until the program ends, and checks its exit status, which is 0 if the guest has shut down.
    pub fn expect_exit(&mut self, status: i32, within: Duration) -> Result<(), Error> {
        self.process.expect_exit(status, within)
    }

    /// Ends the machine by `quit`, and checks its exit status.
    pub fn quit(mut self) -> Result<(), Error> {
        match self.qmp.quit() {
            // The program may end before its answer is read.
            Ok(()) | Err(libqmp::Error::Closed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.process.expect_exit(0, self.timeout)
    }
}

/// The socket of a machine's vsock device.
pub(crate) fn vsock(directory: &Path) -> PathBuf {
    directory.join("vsock")
}

/// The address of a machine's monitor.
pub(crate) fn socket(directory: &Path) -> PathBuf {
    directory.join("qmp")
}
