//! Runs a program under ptrace(2), records its system calls, and makes one of them fail.
//!
//! A call that is to fail is not made: at its entry it becomes one without effect that every thread of the program may
//! make, and at its exit it gets the errno. A call is identified by what does not change between two runs: the phase of
//! the run, the thread's name, the call, and its number among calls of its kind in that thread and phase.
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

/// The signal of a system call stop (`PTRACE_O_TRACESYSGOOD`).
const CALL: i32 = libc::SIGTRAP | 0x80;

/// The phase of a run. The driver sets it, and the tracer reads it at each call.
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

/// The current phase of a run.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Enters this phase.
    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::SeqCst);
    }

    fn phase(&self) -> Phase {
        let phase = self.0.load(Ordering::SeqCst);
        Phase::ALL[usize::from(phase).min(Phase::ALL.len() - 1)]
    }
}

/// A kind of system call: its number, and the request of `ioctl` and `fcntl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The call.
    pub call: Sysno,
    /// Its second argument, or 0.
    pub request: u64,
}

/// Identifies one call of a run, to locate it in another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its phase.
    pub phase: Phase,
    /// `main`, or the thread's name; `new` before the thread's own code.
    pub thread: String,
    /// Its kind.
    pub kind: Kind,
    /// Number of earlier calls of its kind.
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
    /// Its identity.
    pub place: Place,
    /// What its first argument refers to, if that is a descriptor.
    pub descriptor: Descriptor,
}

/// What a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Its kind.
    pub object: Object,
    /// Whether it is non-blocking.
    pub is_nonblocking: bool,
}

/// Kinds of open files.
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
    /// Its identity.
    pub place: Place,
    /// Its errno.
    pub errno: Errno,
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The program's end.
    pub end: End,
    /// Every call in order, unless one was to fail.
    pub calls: Vec<Observed>,
    /// Whether the call that was to fail was made.
    pub was_struck: bool,
}

/// A program under the tracer.
pub struct Traced {
    /// Its process.
    pub pid: Pid,
    /// Its standard output.
    pub output: PipeReader,
    /// Its standard error.
    pub messages: PipeReader,
    /// Receives its end.
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
    // It waits for the tracer.
    let mut waiting = Command::new("sh");
    waiting.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]);
    waiting.arg(command.get_program()).args(command.get_args());
    waiting.stdin(std::process::Stdio::null());
    waiting.stdout(output_writer).stderr(messages_writer);
    waiting.process_group(0);
    let (pid_sender, pid) = channel();
    let (sender, ended) = channel();
    let progress = progress.clone();
    // All ptrace(2) requests must come from the tracing thread, which is the parent, too.
    thread::Builder::new()
        .name("tracer".to_owned())
        .spawn(move || {
            let result = trace(waiting, &progress, fault, &pid_sender);
            // The receiver may be gone.
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
    // Closes the pipes' other ends.
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
    /// Between a call's entry and exit.
    is_in_call: bool,
    /// The current call is the failing one.
    is_struck: bool,
    /// The standard library's first calls are done.
    has_begun: bool,
    /// Read on demand, and again after a possible change.
    name: Option<String>,
}

struct Tracer<'a> {
    pid: Pid,
    progress: &'a Progress,
    fault: Option<Fault>,
    threads: HashMap<Pid, Thread>,
    counts: HashMap<(Phase, String, Kind), u32>,
    calls: Vec<Observed>,
    /// Earlier calls are the loader's and the runtime's.
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
                    // If the thread is killed meanwhile, the next status reports it.
                    let _ = self.call(pid);
                    self.go_on(pid, 0);
                }
                Status::Exec => {
                    // The exit of this call follows.
                    self.threads.entry(pid).or_default().is_in_call = true;
                    self.go_on(pid, 0);
                }
                Status::Signal(signal) => self.go_on(pid, signal),
                Status::Other => self.go_on(pid, 0),
            }
        }
    }

    fn go_on(&self, pid: Pid, signal: i32) {
        // After the fault nothing more needs to be observed.
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
        // SAFETY: the request has no pointer. The signal is a number, since it may be a real-time signal, which the
        // library cannot name. A thread that has been killed meanwhile need not continue.
        unsafe { libc::ptrace(request, pid.as_raw(), 0, signal) };
    }

    /// Handles a thread's stop at the entry or the exit of a call.
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
        // The standard library queries the current one before it sets its own.
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

/// Why a traced thread has stopped.
enum Status {
    Ended(End),
    /// At a system call's entry or exit.
    Call,
    /// At the end of execve(2).
    Exec,
    /// A signal is to be delivered.
    Signal(i32),
    Other,
}

/// Waits for the next stop or end of a thread that the calling thread traces: other tracers have runs of their own.
fn wait() -> Result<(Pid, Status), Failure> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: the status is a writable `int`.
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
