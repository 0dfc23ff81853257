//! Runs a program under ptrace(2), tells which system calls it makes, and makes one of them fail.
//!
//! A call that is to fail is not made: at its entry it becomes one that does nothing and that every thread of the
//! program may make, and at its exit it gets the errno. A call is named by what does not change between two runs: the
//! phase of the run, the thread's name, the call, and how often that thread's kind has made it in the phase before.
#![expect(
    unsafe_code,
    reason = "the library has no names for real-time signals, which vCPUs are kicked with"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use faultvisor_tests::suite::Failure;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use syscalls::Sysno;

/// What a stop at a system call has for a signal (`PTRACE_O_TRACESYSGOOD`).
const CALL: i32 = libc::SIGTRAP | 0x80;

/// What a run is doing. The driver sets it, and the tracer reads it at each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// From the program's first own call to the guest's last report.
    Start,
    /// From `system_reset` to the same report.
    Reset,
    /// From `quit` on.
    End,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Start, Self::Reset, Self::End];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reset => "reset",
            Self::End => "end",
        }
    }
}

/// The phase of a run that is going on.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// From now on it is this phase.
    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::SeqCst);
    }

    fn phase(&self) -> Phase {
        let phase = self.0.load(Ordering::SeqCst);
        Phase::ALL[usize::from(phase).min(Phase::ALL.len() - 1)]
    }
}

/// A kind of system call: its number, and for `ioctl` and `fcntl` what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The call.
    pub call: Sysno,
    /// Its second argument, or 0.
    pub request: u64,
}

/// One call of a run, as it is found again in another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// When.
    pub phase: Phase,
    /// `main`, or the thread's name; `new` before its first step of its own.
    pub thread: String,
    /// Which.
    pub kind: Kind,
    /// How many of its kind were before it.
    pub nth: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            phase,
            thread,
            kind,
            nth,
        } = self;
        write!(f, "{} {thread} {}", phase.name(), kind.call.name())?;
        if kind.request != 0 {
            write!(f, ":{:#x}", kind.request)?;
        }
        write!(f, " {nth}")
    }
}

/// A call that a run has made.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Which.
    pub place: Place,
    /// What its first argument is, if that is a descriptor.
    pub descriptor: Descriptor,
}

/// What a descriptor is open on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub object: Object,
    /// Whether it does not block.
    pub is_nonblocking: bool,
}

/// What can be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A file or a block device.
    File,
    /// A pipe.
    Pipe,
    /// A socket.
    Socket,
    /// An eventfd, an epoll instance, KVM, and the like.
    Kernel,
}

/// A call that is to fail.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which.
    pub place: Place,
    /// Its errno.
    pub errno: Errno,
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The program's end.
    pub end: End,
    /// Every call in order, if nothing was to fail.
    pub calls: Vec<Observed>,
    /// Whether the call that was to fail was made.
    pub was_struck: bool,
}

/// A program that runs under the tracer.
pub struct Traced {
    /// Its process.
    pub pid: Pid,
    /// What it writes to standard output.
    pub output: PipeReader,
    /// What it writes to standard error.
    pub messages: PipeReader,
    /// Told how it ended.
    pub ended: Receiver<Result<Ended, Failure>>,
}

/// Starts a program. It is killed if the tracer ends before it.
pub fn start(
    command: &Command,
    progress: &Progress,
    fault: Option<Fault>,
) -> Result<Traced, Failure> {
    let (output, output_writer) = io::pipe()?;
    let (messages, messages_writer) = io::pipe()?;
    // It waits until it is traced.
    let mut waiting = Command::new("sh");
    waiting.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]);
    waiting.arg(command.get_program()).args(command.get_args());
    waiting.stdin(std::process::Stdio::null());
    waiting.stdout(output_writer).stderr(messages_writer);
    waiting.process_group(0);
    let (pid_sender, pid) = channel();
    let (sender, ended) = channel();
    let progress = progress.clone();
    // All requests of ptrace(2) must come from the thread that traces, which is the parent, too.
    thread::Builder::new()
        .name("tracer".to_owned())
        .spawn(move || {
            let result = trace(waiting, &progress, fault, &pid_sender);
            // Nobody may listen any more.
            let _ = sender.send(result);
        })?;
    let pid = pid
        .recv()
        .map_err(|_| Failure::new("the program could not be started"))?;
    Ok(Traced {
        pid,
        output,
        messages,
        ended,
    })
}

fn trace(
    mut command: Command,
    progress: &Progress,
    fault: Option<Fault>,
    started: &Sender<Pid>,
) -> Result<Ended, Failure> {
    let child = command.spawn()?;
    // The pipes' other ends.
    drop(command);
    let pid = i32::try_from(child.id()).map_err(|error| Failure::new(error.to_string()))?;
    let pid = Pid::from_raw(pid);
    waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options)?;
    kill(pid, Signal::SIGCONT)?;
    started
        .send(pid)
        .map_err(|_| Failure::new("nobody waits for the program"))?;
    let mut tracer = Tracer {
        pid,
        progress,
        fault,
        threads: HashMap::new(),
        counts: HashMap::new(),
        calls: Vec::new(),
        is_counting: false,
        was_struck: false,
    };
    let end = tracer.run()?;
    Ok(Ended {
        end,
        calls: tracer.calls,
        was_struck: tracer.was_struck,
    })
}

#[derive(Debug, Default)]
struct Thread {
    /// Between the entry of a call and its exit.
    is_in_call: bool,
    /// The call that it is in is the one that fails.
    is_struck: bool,
    /// Its first steps, which are the standard library's, are done.
    has_begun: bool,
    /// Read when it is needed, and again when the thread may have got another.
    name: Option<String>,
}

struct Tracer<'a> {
    pid: Pid,
    progress: &'a Progress,
    fault: Option<Fault>,
    threads: HashMap<Pid, Thread>,
    counts: HashMap<(Phase, String, Kind), u32>,
    calls: Vec<Observed>,
    /// What comes before is the loader's and the runtime's.
    is_counting: bool,
    was_struck: bool,
}

impl Tracer<'_> {
    fn run(&mut self) -> Result<End, Failure> {
        loop {
            let (pid, status) = wait()?;
            match status {
                Status::Ended(end) if pid == self.pid => return Ok(end),
                Status::Ended(_) => {
                    self.threads.remove(&pid);
                }
                Status::Call => {
                    // A thread that is killed meanwhile is told of by the next status.
                    let _ = self.call(pid);
                    self.go_on(pid, 0);
                }
                Status::Exec => {
                    // What follows is the exit of the call that it comes from.
                    self.threads.entry(pid).or_default().is_in_call = true;
                    self.go_on(pid, 0);
                }
                Status::Signal(signal) => self.go_on(pid, signal),
                Status::Other => self.go_on(pid, 0),
            }
        }
    }

    fn go_on(&self, pid: Pid, signal: i32) {
        // There is nothing more to see once the fault has struck.
        let is_over = self.was_struck
            && self
                .threads
                .get(&pid)
                .is_none_or(|thread| !thread.is_struck);
        let request = if is_over {
            libc::PTRACE_CONT
        } else {
            libc::PTRACE_SYSCALL
        };
        // SAFETY: the request has no pointer. The signal is a number, which may be a real-time signal's, and those have
        // no name in the library. A thread that has been killed meanwhile need not go on.
        unsafe { libc::ptrace(request, pid.as_raw(), 0, signal) };
    }

    /// A thread is at the entry or the exit of a call.
    fn call(&mut self, pid: Pid) -> nix::Result<()> {
        let thread = self.threads.entry(pid).or_default();
        thread.is_in_call = !thread.is_in_call;
        if !thread.is_in_call {
            if std::mem::take(&mut thread.is_struck)
                && let Some(fault) = &self.fault
            {
                let mut registers = ptrace::getregs(pid)?;
                registers.rax = i64::from(fault.errno as i32).wrapping_neg().cast_unsigned();
                ptrace::setregs(pid, registers)?;
            }
            return Ok(());
        }
        let mut registers = ptrace::getregs(pid)?;
        let Some(call) = usize::try_from(registers.orig_rax)
            .ok()
            .and_then(Sysno::new)
        else {
            return Ok(());
        };
        // The standard library asks for the one that there is before it sets its own.
        let is_signal_stack = call == Sysno::sigaltstack && registers.rdi != 0;
        if !self.is_counting {
            // The runtime's last step before `main`.
            self.is_counting = is_signal_stack;
            return Ok(());
        }
        if call == Sysno::prctl {
            thread.name = None;
        }
        thread.has_begun |= is_signal_stack;
        let request = match call {
            Sysno::ioctl | Sysno::fcntl => registers.rsi & 0xffff_ffff,
            _ => 0,
        };
        let name = self.name(pid);
        let kind = Kind { call, request };
        let phase = self.progress.phase();
        let count = self.counts.entry((phase, name.clone(), kind)).or_default();
        let place = Place {
            phase,
            thread: name,
            kind,
            nth: *count,
        };
        *count += 1;
        match &self.fault {
            None => self.calls.push(Observed {
                descriptor: Descriptor::of(self.pid, registers.rdi),
                place,
            }),
            Some(fault) if !self.was_struck && fault.place == place => {
                registers.orig_rax = Sysno::sched_yield as u64;
                ptrace::setregs(pid, registers)?;
                self.was_struck = true;
                self.threads.entry(pid).or_default().is_struck = true;
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn name(&mut self, pid: Pid) -> String {
        if pid == self.pid {
            return "main".to_owned();
        }
        let thread = self.threads.entry(pid).or_default();
        if !thread.has_begun {
            return "new".to_owned();
        }
        let read = || {
            let path = format!("/proc/{}/task/{pid}/comm", self.pid);
            let name = fs::read_to_string(path).unwrap_or_default();
            Some(name.trim().to_owned())
        };
        thread.name = thread.name.take().or_else(read);
        thread.name.clone().unwrap_or_default()
    }
}

/// Why a thread that is traced has stopped.
enum Status {
    Ended(End),
    /// At a system call's entry or exit.
    Call,
    /// At the end of execve(2).
    Exec,
    /// A signal is for it.
    Signal(i32),
    Other,
}

/// Waits for the next thread that stops or ends, of those that the calling thread traces: others have runs of their own.
fn wait() -> Result<(Pid, Status), Failure> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: the status is an `int` that may be written.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        match Errno::result(pid) {
            Err(Errno::EINTR) => {}
            pid => break Pid::from_raw(pid?),
        }
    };
    let status = if libc::WIFEXITED(status) {
        Status::Ended(End::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Status::Ended(End::Killed(libc::WTERMSIG(status)))
    } else {
        match (libc::WSTOPSIG(status), status >> 16) {
            (CALL, 0) => Status::Call,
            (_, libc::PTRACE_EVENT_EXEC) => Status::Exec,
            (signal, 0) => Status::Signal(signal),
            _ => Status::Other,
        }
    };
    Ok((pid, status))
}

impl Descriptor {
    fn of(pid: Pid, number: u64) -> Self {
        const O_NONBLOCK: u32 = 0o4000;
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}"));
        let target = target.unwrap_or_default().display().to_string();
        let object = match target.split(':').next() {
            Some("pipe") => Object::Pipe,
            Some("socket") => Object::Socket,
            _ if target.starts_with('/') && !target.starts_with("/dev/kvm") => Object::File,
            _ => Object::Kernel,
        };
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
        let flags = text.unwrap_or_default();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        Self {
            object,
            is_nonblocking: flags.is_some_and(|flags| flags & O_NONBLOCK != 0),
        }
    }
}
