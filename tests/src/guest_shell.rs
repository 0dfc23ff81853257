//! A Linux guest that a test controls: its shell takes commands from the serial console and answers with their output
//! and status.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::guest::{INIT_MARKER, Script};
use faultvisor_harness::transcript::Line;
use faultvisor_harness::{Error, Process};

/// The shell's script.
const SHELL: &str = include_str!("guest/shell.sh");
/// The line that reports that the shell is ready.
const SHELL_MARKER: &str = "FV-SHELL";
/// The prefix of the line after a command's output.
const STATUS_MARKER: &str = "FV-STATUS ";
/// The common prefix of the lines above and the init's.
const ANY_MARKER: &str = "FV-";

/// Typed into an interactive shell, makes it obey a test. The terminal echoes what is typed, which must not look like
/// the shell's output.
pub const TYPED: &str = "stty -echo; echo FV-SH''ELL; \
                         while read -r line; do eval \"$line\"; echo \"FV-STATUS $?\"; done";

/// Timeout of each wait: a guest boots in the lab in some 7 s, on a busy machine in several times that.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The default guest memory, as `-m` takes it.
pub const MEMORY: &str = "192M";

/// The kernel's part of the command line. Kernel messages, which would split the shell's lines, go to the kernel's log
/// only.
pub const APPEND: &str = "console=ttyS0 quiet loglevel=0 panic=-1 reboot=t";

/// Why a command in the guest failed.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The guest did not answer.
    #[error("the guest does not answer '{command}'")]
    NoAnswer {
        /// The command.
        command: String,
        /// What happened instead.
        #[source]
        source: Error,
    },
    /// The command failed.
    #[error("the guest's '{command}' ended with {status}: {output}")]
    Status {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
        /// What it wrote.
        output: String,
    },
}

/// The result of a command in the guest.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit status.
    pub status: i32,
    /// Its output, lines joined by newlines.
    pub output: String,
    /// When the line with its status arrived.
    pub at: Instant,
}

/// The result of a command during which the guest may restart.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit status; none if the guest has restarted instead.
    pub status: Option<i32>,
    /// Its complete output lines.
    pub lines: Vec<Line>,
    /// When the line with its status arrived, or the first line of the restarted guest.
    pub at: Instant,
}

/// A guest whose shell takes commands.
#[derive(Debug)]
pub struct GuestShell {
    machine: Process,
    /// The command in progress.
    command: String,
    /// Its timeout.
    patience: Duration,
}

/// The script that makes a guest's init such a shell. Files can be added to it.
pub fn script() -> Script {
    Script::new(SHELL)
}

/// As [`script`], with commands that the guest executes at each start before it takes others.
pub fn script_after(setup: &str) -> Script {
    Script::new(format!("{setup}\n{SHELL}"))
}

/// Completes a VMM's command line with a kernel, an initramfs and a monitor. The guest's memory is up to the caller.
pub fn boot_arguments<'a>(
    command: &'a mut Command,
    kernel: &Path,
    initramfs: &Path,
    monitor: &Path,
) -> &'a mut Command {
    command.arg("--kernel").arg(kernel);
    command.arg("--initrd").arg(initramfs);
    command.args(["--append", APPEND, "--serial", "stdio"]);
    command
        .arg("--qmp")
        .arg(format!("unix:{}", monitor.display()))
}

impl GuestShell {
    /// A starting machine whose guest has [`script`] in its initramfs.
    pub fn new(machine: Process) -> Self {
        Self {
            machine,
            command: String::new(),
            patience: PATIENCE,
        }
    }

    /// Sets the timeout of commands from now on.
    pub fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Waits until the guest's init has started and its shell takes commands.
    pub fn wait(&mut self) -> Result<(), Error> {
        self.machine
            .console()
            .wait_for_line(INIT_MARKER, PATIENCE)?;
        self.wait_for_shell()
    }

    /// Waits until the shell takes commands, of a guest whose init has started.
    pub fn wait_for_shell(&mut self) -> Result<(), Error> {
        self.machine
            .console()
            .wait_for_line(SHELL_MARKER, PATIENCE)
            .map(drop)
    }

    /// Starts a command, and does not wait for it.
    pub fn begin(&mut self, command: &str) -> Result<(), ShellError> {
        command.clone_into(&mut self.command);
        let typed = self.machine.console().type_text(&format!("{command}\n"));
        typed.map_err(|source| self.no_answer(source))
    }

    fn no_answer(&self, source: Error) -> ShellError {
        let command = self.command.clone();
        ShellError::NoAnswer { command, source }
    }

    /// Waits for the end of the command that was started.
    pub fn finish(&mut self) -> Result<Answer, ShellError> {
        let answer = self
            .machine
            .console()
            .read_until(STATUS_MARKER, self.patience);
        let mut lines = answer.map_err(|source| self.no_answer(source))?;
        let last = lines.pop();
        let at = last.as_ref().map_or_else(Instant::now, |line| line.at);
        let (before, status) = last
            .as_ref()
            .and_then(|line| line.text.split_once(STATUS_MARKER))
            .unwrap_or_default();
        let mut output: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        if !before.is_empty() {
            output.push(before);
        }
        Ok(Answer {
            status: status.trim().parse().unwrap_or(-1),
            output: output.join("\n").replace('\r', ""),
            at,
        })
    }

    /// Waits for the end of the command that was started, or until the guest restarts.
    pub fn finish_or_restart(&mut self) -> Result<Outcome, ShellError> {
        let answer = self.machine.console().read_until(ANY_MARKER, self.patience);
        let mut lines = answer.map_err(|source| self.no_answer(source))?;
        // Text before a marker is the start of an incomplete line.
        let marker = lines.pop();
        let at = marker.as_ref().map_or_else(Instant::now, |line| line.at);
        let status = marker
            .as_ref()
            .and_then(|line| line.text.split_once(STATUS_MARKER));
        let status = status.map(|(_, status)| status.trim().parse().unwrap_or(-1));
        Ok(Outcome { status, lines, at })
    }

    /// Executes a command, whatever its status.
    pub fn attempt(&mut self, command: &str) -> Result<Answer, ShellError> {
        self.begin(command)?;
        self.finish()
    }

    /// Executes a command that has to succeed, and returns its output.
    pub fn run(&mut self, command: &str) -> Result<String, ShellError> {
        self.begin(command)?;
        self.succeed()
    }

    /// Waits for the end of the command that was started, which has to succeed, and returns its output.
    pub fn succeed(&mut self) -> Result<String, ShellError> {
        let answer = self.finish()?;
        if answer.status == 0 {
            return Ok(answer.output);
        }
        Err(ShellError::Status {
            command: self.command.clone(),
            status: answer.status,
            output: answer.output,
        })
    }

    /// The guest's kernel messages about failed disk requests.
    pub fn disk_errors(&mut self) -> Result<String, ShellError> {
        self.run("dmesg | grep 'I/O error' || true")
    }

    /// Has the guest sync its file systems and power off.
    pub fn power_off(&mut self) -> Result<(), ShellError> {
        self.begin("sync; poweroff -f")
    }

    /// Waits until the VMM has ended with this exit status.
    pub fn expect_exit(&mut self, status: i32) -> Result<(), Error> {
        self.machine.expect_exit(status, PATIENCE)
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut Process {
        &mut self.machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_returns_its_output_and_status() {
        let mut command = Command::new("sh");
        let shell = SHELL
            .replace("exec 3< /dev/console", "exec 3<&0")
            .replace("stty -echo <&3", "echo FV-INIT");
        command.args(["-c", &shell]);
        let mut guest = GuestShell::new(Process::spawn(&mut command).unwrap());
        guest.wait().unwrap();
        assert_eq!(guest.run("echo one; echo two").unwrap(), "one\ntwo");
        assert_eq!(guest.run("printf half").unwrap(), "half");
        let failed = guest.attempt("echo no; false").unwrap();
        assert_eq!((failed.status, failed.output.as_str()), (1, "no"));
        let error = guest.run("echo why; false").unwrap_err().to_string();
        assert_eq!(error, "the guest's 'echo why; false' ended with 1: why");
    }

    #[test]
    fn a_guests_restart_ends_its_command() {
        let texts = |outcome: &Outcome| -> Vec<String> {
            let lines = outcome.lines.iter();
            lines.map(|line| line.text.clone()).collect()
        };
        let script = "echo FV-INIT; echo FV-SHELL; read -r line; echo one; printf tw; echo FV-INIT; echo FV-SHELL; \
                      read -r line; echo two; echo FV-STATUS 3";
        let machine = Process::spawn(Command::new("sh").args(["-c", script])).unwrap();
        let mut guest = GuestShell::new(machine);
        guest.wait().unwrap();
        guest.begin("first").unwrap();
        let first = guest.finish_or_restart().unwrap();
        assert_eq!(first.status, None);
        assert_eq!(texts(&first), ["one"]);
        guest.wait_for_shell().unwrap();
        guest.begin("second").unwrap();
        let second = guest.finish_or_restart().unwrap();
        assert_eq!(second.status, Some(3));
        assert_eq!(texts(&second), ["two"]);
    }
}
