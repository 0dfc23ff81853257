//! Watches a machine for its guest: the agent's start, the program's end, resets and panics.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use faultvisor_agent_protocol::READY_PORT;
use faultvisor_agent_protocol::frame::{Decoder, Kind};
use faultvisor_agent_protocol::hello::Hello;
use libqmp::{GuestPanickedEvent, ResetEvent, Session};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::state::Guest;
use crate::error::Error;

/// The most agents that have connected and not said their hello; a guest may do anything.
const AGENTS: usize = 8;

/// What tells a [`Guest`] of its machine, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    guest: Guest,
    stop: Arc<OwnedFd>,
    // Their handlers know the guest.
    _events: Option<(ResetEvent, GuestPanickedEvent)>,
}

/// A listener for the agent's start, made before the machine is.
#[derive(Debug)]
pub(crate) struct Announcements {
    socket: PathBuf,
    listener: UnixListener,
}

impl Announcements {
    /// Listens beside the socket of a vsock device.
    pub(crate) fn listen(socket: &Path) -> Result<Self, Error> {
        let mut path = socket.as_os_str().to_owned();
        path.push(format!("_{READY_PORT}"));
        let path = PathBuf::from(path);
        let bound = UnixListener::bind(&path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = bound.map_err(|source| Error::Make { path, source })?;
        let socket = socket.to_owned();
        Ok(Self { socket, listener })
    }

    /// Watches the machine of a process that was just started.
    pub(crate) fn watch(self, process: u32) -> Result<Watch, Error> {
        let refused = |source| Error::Process {
            what: "watch",
            source,
        };
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
        let process =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|error| refused(error.into()))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| refused(error.into()))?;
        let stop = Arc::new(stop);
        let guest = Guest::awaited(self.socket);
        let watching = Watching {
            guest: guest.clone(),
            listener: self.listener,
            process,
            stop: Arc::clone(&stop),
            agents: Vec::new(),
        };
        let thread = thread::Builder::new().name("guest watch".to_owned());
        thread.spawn(move || watching.run()).map_err(refused)?;
        Ok(Watch {
            guest,
            stop,
            _events: None,
        })
    }
}

impl Watch {
    /// Watches the guest's resets and panics, too.
    pub(crate) fn connect(mut self, qmp: &Session) -> Result<Self, Error> {
        let resets = qmp.get_reset_event()?;
        let guest = self.guest.clone();
        resets.connect(move |_| guest.restarts("the guest was reset"))?;
        let panics = qmp.get_guest_panicked_event()?;
        let guest = self.guest.clone();
        panics.connect(move |_| guest.is_down("the guest has panicked"))?;
        self._events = Some((resets, panics));
        Ok(self)
    }

    /// The guest.
    pub(crate) fn guest(&self) -> &Guest {
        &self.guest
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.guest.has_ended("the machine is gone");
        // The thread ends with the process otherwise.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

struct Watching {
    guest: Guest,
    listener: UnixListener,
    process: OwnedFd,
    stop: Arc<OwnedFd>,
    agents: Vec<(UnixStream, Decoder)>,
}

impl Watching {
    fn run(mut self) {
        loop {
            let mut watched: Vec<BorrowedFd<'_>> = vec![
                self.stop.as_fd(),
                self.process.as_fd(),
                self.listener.as_fd(),
            ];
            watched.extend(self.agents.iter().map(|(stream, _)| stream.as_fd()));
            let watched = watched.into_iter();
            let watched =
                watched.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
            let mut watched: Vec<_> = watched.collect();
            // Without memory for it, what follows finds out.
            let _ = poll(&mut watched, None);
            let ready = |index: usize| {
                watched
                    .get(index)
                    .is_some_and(|fd| !fd.revents().is_empty())
            };
            if ready(0) {
                return;
            }
            if ready(1) {
                return self.guest.has_ended("the machine has ended");
            }
            self.hear();
            self.accept();
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                self.agents.push((stream, Decoder::default()));
            }
            if self.agents.len() > AGENTS {
                self.agents.remove(0);
            }
        }
    }

    /// Reads what agents say, and lets go of those that have said it, or something else.
    fn hear(&mut self) {
        let guest = &self.guest;
        self.agents.retain_mut(|(stream, decoder)| {
            let is_early = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            match decoder.read_from(stream) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return is_early(&error),
            }
            let hello = match decoder.next_frame() {
                Ok(None) => return true,
                Ok(Some(frame)) => frame.message::<Hello>(Kind::Hello),
                Err(error) => Err(error),
            };
            if hello.is_ok() {
                guest.is_ready();
            }
            false
        });
    }
}
