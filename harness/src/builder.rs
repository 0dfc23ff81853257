//! The description of a machine to start.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use libqmp::Session;
use tempfile::TempDir;

use crate::console::deadline;
use crate::disk::{Attached, Disk};
use crate::error::Error;
use crate::guest::Announcements;
use crate::machine::{Machine, socket, vsock};
use crate::process::Process;

/// The default program.
const PROGRAM: &str = "faultvisor";
/// The environment variable that names another program.
const PROGRAM_VARIABLE: &str = "FAULTVISOR";
/// The guest's address, unless set otherwise: the first that a guest can have.
const GUEST_CID: u32 = 3;
/// The time limit for whatever does not depend on the guest.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two attempts to connect to a monitor that may not listen yet.
const PAUSE: Duration = Duration::from_millis(5);

/// A machine to be started: its kernel and its options.
///
/// The program is what [`program`](Self::program) sets, or else the environment variable `FAULTVISOR`, or else
/// `faultvisor` from `PATH`.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    program: Option<PathBuf>,
    kernel: PathBuf,
    initrd: Option<PathBuf>,
    append: Option<String>,
    memory: Option<String>,
    disks: Vec<Disk>,
    arguments: Vec<OsString>,
    vsock: Option<u32>,
    timeout: Duration,
}

impl Builder {
    pub(crate) fn new(kernel: PathBuf) -> Self {
        Self {
            program: None,
            kernel,
            initrd: None,
            append: None,
            memory: None,
            disks: Vec::new(),
            arguments: Vec::new(),
            vsock: None,
            timeout: TIMEOUT,
        }
    }

    /// Sets the program that runs the machine.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Sets the guest's initramfs.
    pub fn initrd(mut self, path: impl Into<PathBuf>) -> Self {
        self.initrd = Some(path.into());
        self
    }

    /// Sets the kernel's command line.
    pub fn append(mut self, text: impl Into<String>) -> Self {
        self.append = Some(text.into());
        self
    }

    /// Sets the size of guest memory, as for `-m`: `256M`.
    pub fn memory(mut self, size: impl Into<String>) -> Self {
        self.memory = Some(size.into());
        self
    }

    /// Adds a disk.
    pub fn disk(mut self, disk: impl Into<Disk>) -> Self {
        self.disks.push(disk.into());
        self
    }

    /// Adds a vsock device, by which the guest's agent is reached: [`Machine::run`] and the like.
    pub fn vsock(self) -> Self {
        self.vsock_cid(GUEST_CID)
    }

    /// As [`vsock`](Self::vsock), with another address for the guest than 3.
    pub fn vsock_cid(mut self, cid: u32) -> Self {
        self.vsock = Some(cid);
        self
    }

    /// Starts the guest only at `cont`, so that rules are in force from its first request on.
    pub fn paused(self) -> Self {
        self.arg("-S")
    }

    /// Adds an argument of the program.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets the time limit for the program to start, to answer a command, and to end: 30 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets `FAULTVISOR_KERNEL`, `FAULTVISOR_INITRD` and `FAULTVISOR_APPEND` override these settings, so that the same
    /// test runs with other guests elsewhere.
    pub fn from_environment(self) -> Self {
        self.overridden_by(|name| env::var_os(name))
    }

    fn overridden_by(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if let Some(kernel) = variable("FAULTVISOR_KERNEL") {
            self.kernel = kernel.into();
        }
        if let Some(initrd) = variable("FAULTVISOR_INITRD") {
            self.initrd = Some(initrd.into());
        }
        if let Some(append) = variable("FAULTVISOR_APPEND") {
            self.append = Some(append.to_string_lossy().into_owned());
        }
        self
    }

    /// Starts the machine, and waits until its monitor answers.
    pub fn start(self) -> Result<Machine, Error> {
        let directory = tempfile::Builder::new().prefix("faultvisor-").tempdir();
        let directory = directory.map_err(|source| Error::Make {
            path: env::temp_dir().join("faultvisor-*"),
            source,
        })?;
        let disks = self.disks.iter().enumerate();
        let disks = disks.map(|(index, disk)| disk.attach(directory.path(), index));
        let disks: Vec<Attached> = disks.collect::<Result<_, _>>()?;
        let socket = vsock(directory.path());
        let announcements = self.vsock.map(|_| Announcements::listen(&socket));
        let announcements = announcements.transpose()?;
        let mut process = Process::spawn(&mut self.command(directory.path(), &disks))?;
        let watch = announcements.map(|listener| listener.watch(process.id()));
        let watch = watch.transpose()?;
        let qmp = self.connect(&mut process, &directory)?;
        let watch = watch.map(|watch| watch.connect(&qmp)).transpose()?;
        Ok(Machine::new(
            watch,
            qmp,
            process,
            disks,
            directory,
            self.timeout,
        ))
    }

    fn command(&self, directory: &Path, disks: &[Attached]) -> Command {
        let named = env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
        let program = self.program.clone().or(named);
        let mut command = Command::new(program.unwrap_or_else(|| PROGRAM.into()));
        command.arg("--kernel").arg(&self.kernel);
        if let Some(initrd) = &self.initrd {
            command.arg("--initrd").arg(initrd);
        }
        if let Some(append) = &self.append {
            command.arg("--append").arg(append);
        }
        if let Some(memory) = &self.memory {
            command.arg("-m").arg(memory);
        }
        for disk in disks {
            command.arg("--drive").arg(&disk.drive);
        }
        if let Some(cid) = self.vsock {
            let socket = vsock(directory);
            command.arg("--vsock");
            command.arg(format!("cid={cid},socket={}", socket.display()));
        }
        command.args(["--serial", "stdio", "--qmp"]);
        command.arg(format!("unix:{}", socket(directory).display()));
        command.args(&self.arguments);
        command
    }

    /// Connects as soon as the program listens. A program that ends before is an error at once.
    fn connect(&self, process: &mut Process, directory: &TempDir) -> Result<Session, Error> {
        let address = format!("unix:{}", socket(directory.path()).display());
        let by = deadline(self.timeout);
        loop {
            let session = Session::options().timeout(self.timeout).connect(&address);
            let error = match session {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if let Some(status) = process.ended_by(Instant::now() + PAUSE)? {
                return Err(process.ended_early(status));
            }
            let is_early = matches!(error, libqmp::Error::Connect { .. });
            if !is_early || Instant::now() >= by {
                return Err(error.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    /// A program that is a script. It is never open in this process, as a process that is started at the same time
    /// could inherit the descriptor and keep it busy.
    fn program(directory: &Path, script: &str) -> PathBuf {
        let path = directory.join("program");
        let mut command = Command::new("sh");
        command.args(["-c", "printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"", "sh"]);
        command.arg(format!("#!/bin/sh\n{script}\n")).arg(&path);
        assert!(command.status().unwrap().success());
        path
    }

    #[test]
    fn a_program_that_ends_early_is_an_immediate_error_with_its_output() {
        let directory = tempdir().unwrap();
        let program = program(directory.path(), "echo 'no such kernel' >&2; exit 3");
        let started = Instant::now();
        let error = Machine::builder("vmlinux").program(program).start();
        let error = error.unwrap_err().to_string();
        let expected = "the machine ended with exit status: 3 before its monitor answered\n  stderr: no such kernel";
        assert_eq!(error, expected);
        assert!(started.elapsed() < TIMEOUT);
    }

    #[test]
    fn a_program_without_a_monitor_is_killed_at_the_time_limit() {
        let directory = tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", pid.display());
        let builder = Machine::builder("vmlinux").program(program(directory.path(), &script));
        let error = builder.timeout(Duration::from_millis(300)).start();
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::Qmp(libqmp::Error::Connect { .. })),
            "{error:?}"
        );
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists());
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Machine::builder("vmlinux")
            .program("/no/such/program")
            .start();
        let expected = "cannot start 'program --kernel vmlinux --serial stdio --qmp unix:";
        let error = format!("{:?}", error.unwrap_err());
        assert!(error.starts_with(expected), "{error}");
        assert!(
            error.ends_with(": No such file or directory (os error 2)"),
            "{error}"
        );
    }

    #[test]
    fn a_builder_becomes_a_command_line() {
        let builder = Machine::builder("vmlinux")
            .program("/bin/faultvisor")
            .initrd("initrd")
            .append("console=ttyS0 quiet")
            .memory("256M")
            .disk(Disk::image("a.img").option("werror", "stop"))
            .disk(Disk::image("b.img").id("data"))
            .arg("--smp")
            .arg("2")
            .vsock()
            .paused();
        let disks = builder.disks.iter().enumerate();
        let disks = disks.map(|(index, disk)| disk.attach(Path::new("/d"), index).unwrap());
        let command = builder.command(Path::new("/d"), &disks.collect::<Vec<_>>());
        let expected = "faultvisor --kernel vmlinux --initrd initrd --append 'console=ttyS0 quiet' -m 256M \
                        --drive file=a.img,format=raw,id=disk0,werror=stop --drive file=b.img,format=raw,id=data \
                        --vsock cid=3,socket=/d/vsock --serial stdio --qmp unix:/d/qmp --smp 2 -S";
        assert_eq!(crate::command_line::typed(&command), expected);
    }

    #[test]
    fn the_environment_overrides_only_what_it_names() {
        let builder =
            Machine::builder("vmlinux")
                .initrd("initrd")
                .overridden_by(|name| match name {
                    "FAULTVISOR_KERNEL" => Some("other".into()),
                    "FAULTVISOR_APPEND" => Some("acpi=off".into()),
                    _ => None,
                });
        assert_eq!(builder.kernel, Path::new("other"));
        assert_eq!(builder.initrd.as_deref(), Some(Path::new("initrd")));
        assert_eq!(builder.append.as_deref(), Some("acpi=off"));
    }
}
