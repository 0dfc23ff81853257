//! The program under test.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::PATIENCE;

/// A command line without a server.
pub fn qmp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qmp"));
    command.env_remove("QMP_SOCKET").args(arguments);
    command
}

/// Waits for a program to end.
#[track_caller]
pub fn wait(child: &mut Child) -> ExitStatus {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ended = poll(&mut fds, Some(&patience)).unwrap();
    assert_eq!(ended, 1, "it does not end");
    child.wait().unwrap()
}

/// How a program ended, and its output.
#[derive(Debug)]
pub struct Ended {
    /// None if a signal killed it.
    pub status: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Ended {
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(
            (self.status, self.errors.as_str()),
            (Some(0), ""),
            "{}",
            self.output
        );
        self.output
    }

    /// Its error message, which is one line.
    #[track_caller]
    pub fn failed(self, status: i32) -> String {
        assert_eq!(
            (self.status, self.output.as_str()),
            (Some(status), ""),
            "{}",
            self.errors
        );
        assert_eq!(self.errors.matches('\n').count(), 1, "{}", self.errors);
        self.errors.trim_end().to_owned()
    }
}

/// A running program.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: String,
    errors: Receiver<String>,
}

impl Program {
    pub fn start(socket: &Path, arguments: &[&str]) -> Self {
        let mut command = qmp(arguments);
        command.arg("--socket").arg(socket);
        Self::spawn(&mut command, "")
    }

    /// Runs with `input` as its standard input.
    pub fn spawn(command: &mut Command, input: &str) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // The program may end before it has read everything.
        thread::spawn(move || stdin.write_all(input.as_bytes()));
        let (line, lines) = channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut text = String::new();
            while stdout.read_line(&mut text).unwrap() > 0 {
                if line.send(std::mem::take(&mut text)).is_err() {
                    return;
                }
            }
        });
        let (error, errors) = channel();
        let mut stderr = child.stderr.take().unwrap();
        thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            let _ = error.send(text);
        });
        Self {
            child,
            lines,
            seen: String::new(),
            errors,
        }
    }

    /// The next line of its output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line");
        self.seen.push_str(&line);
        line.trim_end().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for it to end.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        let status = wait(&mut self.child);
        let mut output = std::mem::take(&mut self.seen);
        output.extend(self.lines.iter());
        Ended {
            status: status.code(),
            output,
            errors: self.errors.recv_timeout(PATIENCE).unwrap(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended, unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
