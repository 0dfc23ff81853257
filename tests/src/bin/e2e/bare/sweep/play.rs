//! One run of the program: a guest starts, is reset, and the machine ends; and the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use faultvisor_harness::transcript::{NoLine, Transcript};
use faultvisor_tests::bare;
use faultvisor_tests::suite::{Context, Failure};
use libqmp::Session;
use nix::sys::signal::{Signal, kill};

use super::errors;
use super::tracer::{self, End, Ended, Fault, Observed, Phase, Progress, Traced};
use faultvisor_tests::check;

/// The guest's steps after each reset, up to its last report.
const SCRIPT: &str = "setup 0\nwrite 0 0 8 1\nread 0 0 8\nflush 0\nchoose\nexit off";

/// The guest's last report.
const LAST: &str = "choose";

/// A run takes less than a second; this indicates a hang.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a client waits for an answer that a fault may have lost.
const ANSWER: Duration = Duration::from_secs(4);

/// How often a stalled run is examined.
const LOOK: Duration = Duration::from_millis(200);

/// The result of a run in which a call failed.
#[derive(Debug)]
pub enum Outcome {
    /// The machine did all of its work.
    WentOn,
    /// The program ended with status 1, and said why.
    Refused,
    /// The machine stopped, said why, and obeyed `quit`.
    Stopped,
    /// The program was out of memory, and ended with the runtime's message.
    OutOfMemory,
    /// The call was not made in this run.
    NotReached,
    /// A violation of the rules.
    Bad(String),
}

impl Outcome {
    /// Its name in a tally.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::WentOn => "went on",
            Self::Refused => "ended with a line",
            Self::Stopped => "stopped with a line",
            Self::OutOfMemory => "ended for want of memory",
            Self::NotReached => "were not reached",
            Self::Bad(_) => "BAD",
        }
    }
}

/// The files of a run.
struct Stage {
    socket: PathBuf,
    pid_file: PathBuf,
    command: Command,
}

impl Stage {
    fn new(context: &Context, name: &str) -> Result<Self, Failure> {
        let directory = context.path(name);
        // Files left by a run that was killed.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory)?;
        let path = |name: &str| directory.join(name);
        fs::write(path("script"), SCRIPT)?;
        bare::image(&path("disk"), 1, 64)?;
        let (socket, pid_file) = (path("qmp"), path("pid"));
        let mut command = context.command();
        command.arg("--kernel").arg(context.bare_guest());
        command.arg("--initrd").arg(path("script"));
        command.args(["--append", "acpi=off", "-m", "48M", "--serial", "stdio"]);
        command.arg("--drive");
        command.arg(format!("file={},format=raw,id=d0", path("disk").display()));
        command.arg("--qmp");
        command.arg(format!("unix:{}", socket.display()));
        command.arg("--pidfile").arg(&pid_file);
        Ok(Self {
            socket,
            pid_file,
            command,
        })
    }

    fn left_behind(&self) -> Vec<&Path> {
        let files = [self.socket.as_path(), self.pid_file.as_path()];
        files.into_iter().filter(|path| path.exists()).collect()
    }
}

/// A run in progress.
struct TracedRun<'a> {
    stage: &'a Stage,
    traced: Traced,
    progress: Progress,
    serial: Transcript,
    messages: Transcript,
    deadline: Instant,
    /// Number of reports seen.
    seen: usize,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    End,
    /// The program ended before.
    Ended,
    /// The run has stalled.
    Nothing,
}

impl<'a> TracedRun<'a> {
    fn start(stage: &'a Stage, fault: Option<Fault>) -> Result<Self, Failure> {
        let progress = Progress::default();
        let mut traced = tracer::start(&stage.command, &progress, fault)?;
        let (output, messages) = (take(&mut traced.output)?, take(&mut traced.messages)?);
        Ok(Self {
            stage,
            traced,
            progress,
            serial: Transcript::record(output)?,
            messages: Transcript::record(messages)?,
            deadline: Instant::now() + LIMIT,
            seen: 0,
        })
    }

    /// Waits for the guest's last report; returns false if none arrives.
    fn guest_is_done(&mut self) -> bool {
        loop {
            let now = Instant::now();
            let next = self.deadline.min(now + LOOK);
            match self
                .serial
                .find(self.seen, next, |line| line.contains(LAST))
            {
                Ok((index, _)) => {
                    self.seen = index + 1;
                    return true;
                }
                Err(NoLine::TimedOut) if now < self.deadline => {}
                Err(_) => return false,
            }
            // A machine that has reported an error stalls soon.
            if has_told(&self.messages.text()) {
                self.deadline = self.deadline.min(now + ANSWER);
            }
        }
    }

    /// Executes a command, on another connection if one is lost. Its effect shows in the machine.
    fn command(&self, name: &str) {
        for _ in 0..3 {
            let options = Session::options().within(ANSWER).timeout(ANSWER);
            let session = options.connect(&format!("unix:{}", self.stage.socket.display()));
            if session.is_ok_and(|session| session.execute_raw(name, None).is_ok())
                || !self.stage.socket.exists()
                || Instant::now() >= self.deadline
            {
                return;
            }
        }
    }

    fn drive(&mut self) -> Reached {
        if !self.guest_is_done() {
            return self.without_report();
        }
        self.progress.enter(Phase::Reset);
        self.command("system_reset");
        if !self.guest_is_done() {
            return self.without_report();
        }
        self.progress.enter(Phase::End);
        self.command("quit");
        Reached::End
    }

    /// The guest reports nothing more: the program has ended, or the machine has stopped or hangs.
    fn without_report(&self) -> Reached {
        if self.serial.wait_for_end(Instant::now()).is_ok() {
            return Reached::Ended;
        }
        self.command("quit");
        Reached::Nothing
    }

    /// Waits for the end, and forces it if necessary.
    fn end(self) -> Result<(Ended, bool, String, String), Failure> {
        // Longer than the program waits for clients that do not read.
        let left = self.deadline.saturating_duration_since(Instant::now()) + ANSWER;
        let (ended, in_time) = match self.traced.ended.recv_timeout(left) {
            Ok(ended) => (ended, true),
            Err(RecvTimeoutError::Timeout) => {
                kill(self.traced.pid, Signal::SIGKILL)?;
                let ended = self.traced.ended.recv();
                (ended.map_err(|_| Failure::new("the tracer ended"))?, false)
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("the tracer ended")),
        };
        let soon = Instant::now() + ANSWER;
        let text = |transcript: &Transcript| {
            let text = transcript.wait_for_end(soon);
            text.unwrap_or_else(|_| transcript.text())
        };
        Ok((ended?, in_time, text(&self.serial), text(&self.messages)))
    }
}

fn take(pipe: &mut std::io::PipeReader) -> Result<std::io::PipeReader, Failure> {
    Ok(pipe.try_clone()?)
}

/// Whether the program has reported the error.
fn has_told(messages: &str) -> bool {
    let is_reason = |line: &str| line.starts_with("faultvisor: ") || line.contains(" ERROR ");
    messages.lines().any(is_reason)
}

/// The calls of a run without failures.
pub fn record(context: &Context) -> Result<Vec<Observed>, Failure> {
    let stage = Stage::new(context, "record")?;
    let mut run = TracedRun::start(&stage, None)?;
    let reached = run.drive();
    let (ended, _, serial, messages) = run.end()?;
    check!(
        reached == Reached::End && ended.end == End::Exited(0),
        "nothing fails, and the run comes to {reached:?}, {:?}: {messages}{serial}",
        ended.end
    );
    Ok(ended.calls)
}

/// Runs a case.
pub fn play(context: &Context, name: &str, fault: &Fault) -> Result<Outcome, Failure> {
    let stage = Stage::new(context, name)?;
    let mut run = TracedRun::start(&stage, Some(fault.clone()))?;
    let reached = run.drive();
    let (ended, in_time, _, messages) = run.end()?;
    if !ended.was_struck {
        return Ok(Outcome::NotReached);
    }
    let said = has_told(&messages);
    let bad = |why: String| {
        let last = messages.lines().last().unwrap_or_default();
        Outcome::Bad(format!("{why} (last words: '{last}')"))
    };
    if !in_time {
        return Ok(bad("it hangs".to_owned()));
    }
    if messages.contains("panicked at") {
        let line = messages.lines().find(|line| line.contains("panicked at"));
        return Ok(bad(line.unwrap_or_default().to_owned()));
    }
    if let End::Killed(signal) = ended.end {
        if signal == Signal::SIGABRT as i32 && messages.contains("memory allocation of") {
            return Ok(Outcome::OutOfMemory);
        }
        return Ok(bad(format!("it was killed by signal {signal}")));
    }
    let left = stage.left_behind();
    if !left.is_empty() && !errors::may_leave_files(&fault.place) {
        return Ok(bad(format!("it leaves {left:?}")));
    }
    Ok(match (ended.end, reached) {
        (End::Exited(0), Reached::End) => Outcome::WentOn,
        (End::Exited(1), _) if said => Outcome::Refused,
        (End::Exited(0), Reached::Nothing) if said => Outcome::Stopped,
        (end, Reached::Nothing) => bad(format!("the guest waits for ever; {end:?}")),
        (end, reached) => bad(format!("it ends with {end:?}, at {reached:?}")),
    })
}
