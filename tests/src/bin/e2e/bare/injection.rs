//! Controls a running program's threads: holds them, or makes them perform system calls, as an attacker does who has
//! taken them over.
//!
//! To perform a call, a thread is stopped where it waits in the kernel. Its registers are set so that it returns to its
//! system call instruction, with another call's number and arguments.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use faultvisor_tests::suite::Failure;
use faultvisor_tests::{check, check_eq, threads};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// `syscall`, as x86-64 encodes it.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Offset below its stack pointer of the memory for a call's arguments: beyond the red zone of the ABI.
const BELOW_STACK: u64 = 4096;

/// How long a thread may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// An argument of a call.
#[derive(Debug, Clone)]
pub enum Argument {
    /// A number.
    Number(i64),
    /// The address of these bytes, copied to the thread.
    Bytes(Vec<u8>),
}

/// A system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub number: u64,
    /// Its first arguments.
    pub arguments: Vec<Argument>,
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel performed it, with this result.
    Returned(i64),
    /// The thread received SIGSYS instead.
    Refused,
}

/// The thread of that name, waited for.
pub fn thread(process: u32, name: &str) -> Result<Pid, Failure> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut threads = threads::of(process)?.into_iter();
        if let Some(thread) = threads.find(|thread| thread.name == name) {
            return Ok(Pid::from_raw(thread.id));
        }
        std::thread::yield_now();
    }
    Err(Failure::new(format!("there is no thread '{name}'")))
}

/// Waits until each thread of a process sleeps in the kernel, and so has started.
pub fn wait_all_asleep(process: u32) -> Result<(), Failure> {
    for thread in threads::of(process)? {
        wait_asleep(process, Pid::from_raw(thread.id))?;
    }
    Ok(())
}

/// Waits until a thread sleeps in the kernel.
fn wait_asleep(process: u32, thread: Pid) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let path = format!("/proc/{process}/task/{thread}/stat");
    // The state follows the name, which is in parentheses.
    while !fs::read_to_string(&path)?.contains(") S ") {
        check!(Instant::now() < deadline, "thread {thread} does not sleep");
        std::thread::yield_now();
    }
    Ok(())
}

/// A thread that is stopped, as if its CPU were busy elsewhere, until dropped.
#[derive(Debug)]
pub struct Held(Pid);

impl Held {
    /// Stops a thread as soon as it sleeps.
    pub fn asleep(process: u32, thread: Pid) -> Result<Self, Failure> {
        wait_asleep(process, thread)?;
        ptrace::seize(thread, Options::empty())?;
        ptrace::interrupt(thread)?;
        stopped(thread)?;
        Ok(Self(thread))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // One that has ended need not be released.
        let _ = ptrace::detach(self.0, None);
    }
}

/// Has a thread of a process perform a call, and then resume its own work.
pub fn perform(process: u32, thread: Pid, call: &Call) -> Result<Outcome, Failure> {
    // A thread that still starts would take the call's result for that of a call of its own, such as its confinement.
    wait_asleep(process, thread)?;
    ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD)?;
    ptrace::interrupt(thread)?;
    stopped(thread)?;
    let before = ptrace::getregs(thread)?;
    let memory = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{process}/task/{thread}/mem"))?;
    let mut instruction = [0; SYSCALL.len()];
    let place = before.rip - SYSCALL.len() as u64;
    memory.read_exact_at(&mut instruction, place)?;
    check!(
        instruction == SYSCALL,
        "thread {thread} does not wait in a system call"
    );
    let mut registers = before;
    registers.rip = place;
    registers.rax = call.number;
    // No interrupted call is to be restarted.
    registers.orig_rax = u64::MAX;
    let mut space = before.rsp - BELOW_STACK;
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(&call.arguments) {
        *value = match argument {
            Argument::Number(number) => number.cast_unsigned(),
            Argument::Bytes(bytes) => {
                space -= bytes.len().next_multiple_of(16) as u64;
                memory.write_all_at(bytes, space)?;
                space
            }
        };
    }
    [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ] = values;
    ptrace::setregs(thread, registers)?;
    let outcome = outcome(thread)?;
    if outcome == Outcome::Refused {
        ptrace::detach(thread, Signal::SIGSYS)?;
    } else {
        ptrace::setregs(thread, before)?;
        ptrace::detach(thread, None)?;
    }
    Ok(outcome)
}

/// Lets a thread pass through a call.
fn outcome(thread: Pid) -> Result<Outcome, Failure> {
    ptrace::syscall(thread, None)?;
    check_eq!(stopped(thread)?, WaitStatus::PtraceSyscall(thread));
    ptrace::syscall(thread, None)?;
    match stopped(thread)? {
        WaitStatus::PtraceSyscall(_) => {
            let result = ptrace::getregs(thread)?.rax;
            // A filter that refuses a call leaves SIGSYS pending at the call's exit.
            ptrace::step(thread, None)?;
            if let WaitStatus::Stopped(_, Signal::SIGSYS) = stopped(thread)? {
                return Ok(Outcome::Refused);
            }
            Ok(Outcome::Returned(result.cast_signed()))
        }
        WaitStatus::Stopped(_, Signal::SIGSYS) => Ok(Outcome::Refused),
        other => Err(Failure::new(format!("the call ended with {other:?}"))),
    }
}

/// Waits for the thread to stop.
fn stopped(thread: Pid) -> Result<WaitStatus, Failure> {
    Ok(waitpid(thread, Some(WaitPidFlag::__WALL))?)
}
