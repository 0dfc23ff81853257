//! A program that lives as long as the session with its monitor.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use command_fds::CommandFdExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Error;
use crate::core::lock;
use crate::socket::{Deadline, Socket};

/// A program started by [`Options::spawn`](crate::Options::spawn). It is killed when its session ends.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    /// Readable when the process has ended.
    end: OwnedFd,
    id: u32,
}

impl Process {
    /// Starts it with one end of a socket; the session has the other. The command holds the program's end as well, and
    /// must be dropped for the program's end to be noticed.
    pub(crate) fn spawn(mut command: Command) -> Result<(Socket, Self), Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = start(&mut command).map_err(|source| Error::Spawn {
            program,
            source: Arc::new(source),
        })?;
        Ok(spawned)
    }

    /// The process's ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits this long for its end; `None` if it still runs.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub fn wait(&self, within: Duration) -> Result<Option<ExitStatus>, Error> {
        let mut fds = [PollFd::new(&self.end, PollFlags::IN)];
        let deadline = Deadline::of(Some(within));
        loop {
            let left = deadline.left().map(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, left.flatten().as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        lock(&self.child).try_wait().map_err(failed)
    }

    /// Ends it, if it still runs.
    pub(crate) fn kill(&self) {
        let mut child = lock(&self.child);
        // Both fail only for a process that has been waited for.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(command: &mut Command) -> io::Result<(Socket, Process)> {
    let (ours, theirs) = UnixStream::pair()?;
    command
        .arg("--qmp")
        .arg(format!("fd:{}", theirs.as_raw_fd()));
    command.preserved_fds(vec![theirs.into()]);
    let mut child = command.spawn()?;
    let id = child.id();
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let opened = pid
        .ok_or(io::ErrorKind::InvalidData.into())
        .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
    let end = match opened {
        Ok(end) => end,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let process = Process {
        child: Mutex::new(child),
        end,
        id,
    };
    Ok((Socket::new(ours.into()), process))
}

fn failed(source: io::Error) -> Error {
    Error::Process {
        source: Arc::new(source),
    }
}
