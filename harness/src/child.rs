//! Child processes that never outlive their parent, and that are waited for with a deadline.

#![expect(
    unsafe_code,
    reason = "what a child does between fork and exec has no safe interface"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};

/// A process that is killed, by its own ID, when this is dropped or when the thread that started it ends.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Guarded {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        // SAFETY: the closure makes one system call, prctl, which is async-signal-safe, and allocates nothing.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        Ok(Self {
            child: command.spawn()?,
            ended: None,
        })
    }

    /// The process, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, waited for until `deadline`; `None` if it is still running then.
    pub fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a child without a process id"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut watched, Some(&timespec(left))) {
                Ok(0) if left == Duration::ZERO => return Ok(None),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {
                    self.ended = Some(self.child.wait()?);
                    return Ok(self.ended);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Kills it, if it still runs, and returns its exit status.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_waited_for_until_the_deadline_and_killed_on_drop() {
        let mut sleeper = Guarded::spawn(Command::new("sleep").arg("1000")).unwrap();
        let id = sleeper.id();
        assert_eq!(
            sleeper
                .wait_until(Instant::now() + Duration::from_millis(10))
                .unwrap(),
            None
        );
        drop(sleeper);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn the_exit_status_of_a_process_can_be_read_again() {
        let mut child = Guarded::spawn(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        for _ in 0..2 {
            assert_eq!(
                child
                    .wait_until(deadline)
                    .unwrap()
                    .and_then(|status| status.code()),
                Some(3)
            );
        }
        assert_eq!(child.kill().unwrap().code(), Some(3));
    }
}
