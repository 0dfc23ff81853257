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
use libqmp::{GuestPanickedEvent, ResetEvent, RunState, Session, StopEvent};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::state::{Guest, ResetBy};
use crate::error::Error;

/// The most agents that have connected and not said their hello; a guest may do anything.
const AGENTS: usize = 8;

/// Why a guest is down that the host's KVM cannot run.
const NOT_RUN: &str = "the host's KVM cannot run this guest; without hardware virtualization (vmx or svm in /proc/cpuinfo), \
                       Linux runs only in a nested host: fvctl --lab";

/// What tells a [`Guest`] of its machine, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    guest: Guest,
    stop: Arc<OwnedFd>,
    // Their handlers know the guest.
    _events: Option<(ResetEvent, GuestPanickedEvent, StopEvent)>,
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
    /// Watches the guest's resets and panics, too, and whether KVM cannot run it.
    pub(crate) fn connect(mut self, qmp: &Session) -> Result<Self, Error> {
        let resets = qmp.get_reset_event()?;
        let guest = self.guest.clone();
        resets.connect(move |reset| {
            let by = if reset.guest {
                ResetBy::Guest
            } else {
                ResetBy::Client
            };
            guest.was_reset(by);
        })?;
        let panics = qmp.get_guest_panicked_event()?;
        let guest = self.guest.clone();
        panics.connect(move |_| guest.is_down("the guest has panicked"))?;
        let stops = qmp.get_stop_event()?;
        let (guest, session) = (self.guest.clone(), qmp.clone());
        stops.connect(move |_| {
            let status = session.query_status();
            if status.is_ok_and(|status| status.status == RunState::InternalError) {
                guest.is_down(NOT_RUN);
            }
        })?;
        self._events = Some((resets, panics, stops));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::Command;
    use std::time::{Duration, Instant};

    use faultvisor_agent_protocol::frame;
    use faultvisor_agent_protocol::request::Request;
    use faultvisor_agent_protocol::run::{RunId, Started};
    use tempfile::TempDir;

    use crate::guest::{GuestError, Running};
    use crate::process::Process;

    const SOON: Duration = Duration::from_secs(30);

    /// A machine whose program is a script, and whose vsock device is this test.
    struct Machine {
        process: Process,
        watch: Watch,
        device: UnixListener,
        directory: TempDir,
    }

    impl Machine {
        fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("vsock");
            let device = UnixListener::bind(&socket).unwrap();
            let announcements = Announcements::listen(&socket).unwrap();
            let process = Process::spawn(Command::new("sh").args(["-c", "read word"])).unwrap();
            let watch = announcements.watch(process.id()).unwrap();
            Self {
                process,
                watch,
                device,
                directory,
            }
        }

        /// The agent says that it is ready, as through the device.
        fn announce(&self) {
            let path = self.directory.path().join(format!("vsock_{READY_PORT}"));
            let mut stream = UnixStream::connect(path).unwrap();
            frame::write_message(&mut stream, Kind::Hello, &Hello::of("agent")).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }

        /// A program that runs in the guest, and the agent's side of its connection.
        fn running(&self) -> (Running, UnixStream) {
            let guest = self.watch.guest().clone();
            let client = thread::spawn(move || guest.spawn(["sleep", "1000"]).unwrap());
            let (mut stream, _) = self.device.accept().unwrap();
            let mut line = [0; 14];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"CONNECT 64023\n");
            stream.write_all(b"OK 1024\n").unwrap();
            let mut buffer = Vec::new();
            let hello = frame::read(&mut stream, &mut buffer).unwrap().unwrap();
            hello.message::<Hello>(Kind::Hello).unwrap();
            let request = frame::read(&mut stream, &mut buffer).unwrap().unwrap();
            request.message::<Request>(Kind::Request).unwrap();
            frame::write_message(&mut stream, Kind::Hello, &Hello::of("agent")).unwrap();
            let started = Started {
                run: RunId(1),
                pid: 2,
            };
            frame::write_message(&mut stream, Kind::Answer, &started).unwrap();
            (client.join().unwrap(), stream)
        }
    }

    #[test]
    fn an_agent_is_awaited_until_it_announces_itself() {
        let machine = Machine::start();
        let guest = machine.watch.guest().clone();
        let early = guest.wait_until_ready(Duration::from_millis(10));
        let expected = "the guest's agent is not ready within 10ms";
        assert_eq!(early.unwrap_err().to_string(), expected);
        let waiting = thread::spawn(move || guest.wait_until_ready(SOON));
        machine.announce();
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn whatever_connects_and_is_no_agent_is_not_one() {
        let machine = Machine::start();
        let path = machine.directory.path().join(format!("vsock_{READY_PORT}"));
        // Some say nothing, and are let go when there are too many.
        let silent: Vec<_> = (0..20)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let mut other = UnixStream::connect(&path).unwrap();
        other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // It is closed, with what was not read.
        let closed = other.read(&mut [0]);
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        let guest = machine.watch.guest();
        assert!(guest.wait_until_ready(Duration::ZERO).is_err());
        machine.announce();
        guest.wait_until_ready(SOON).unwrap();
        drop(silent);
    }

    #[test]
    fn the_end_of_the_program_ends_every_wait_at_once() {
        let mut machine = Machine::start();
        let guest = machine.watch.guest().clone();
        let started = Instant::now();
        let waiting = thread::spawn(move || guest.wait_until_ready(Duration::from_secs(1000)));
        machine.process.kill().unwrap();
        let error = waiting.join().unwrap().unwrap_err().to_string();
        assert_eq!(
            error,
            "waiting for the guest's agent: the machine has ended"
        );
        assert!(started.elapsed() < SOON);
    }

    #[test]
    fn what_is_under_way_ends_with_the_reason() {
        for (end, expected) in [
            ("reset", "'sleep 1000': the guest was reset"),
            ("panic", "'sleep 1000': the guest has panicked"),
            ("exit", "'sleep 1000': the machine has ended"),
        ] {
            let mut machine = Machine::start();
            machine.announce();
            let (mut running, _agent) = machine.running();
            let guest = machine.watch.guest().clone();
            let waiting = thread::spawn(move || running.wait().unwrap_err().to_string());
            match end {
                "reset" => guest.was_reset(ResetBy::Guest),
                "panic" => guest.is_down("the guest has panicked"),
                _ => drop(machine.process.kill().unwrap()),
            }
            assert_eq!(waiting.join().unwrap(), expected);
            let ready = guest
                .wait_until_ready(Duration::from_millis(10))
                .unwrap_err();
            match end {
                // The next start is awaited.
                "reset" => assert!(matches!(ready, GuestError::NotReady { .. })),
                _ => assert!(matches!(ready, GuestError::Ended { .. })),
            }
            if end == "panic" {
                guest.was_reset(ResetBy::Guest);
            }
            if end != "exit" {
                machine.announce();
                guest.wait_until_ready(SOON).unwrap();
            }
        }
    }

    #[test]
    fn a_guest_that_resets_itself_before_its_agent_is_ready_is_not_waited_for() {
        let machine = Machine::start();
        let guest = machine.watch.guest().clone();
        // A client may reset it meanwhile.
        guest.was_reset(ResetBy::Client);
        let waits = guest
            .wait_until_ready(Duration::from_millis(10))
            .unwrap_err();
        assert!(matches!(waits, GuestError::NotReady { .. }), "{waits}");
        let waiting = guest.clone();
        let waiting = thread::spawn(move || waiting.wait_until_ready(Duration::from_secs(1000)));
        guest.was_reset(ResetBy::Guest);
        let expected =
            "waiting for the guest's agent: the guest was reset before its agent was ready";
        assert_eq!(waiting.join().unwrap().unwrap_err().to_string(), expected);
        // It may get there after all.
        machine.announce();
        guest.wait_until_ready(SOON).unwrap();
    }

    #[test]
    fn a_connection_that_the_device_closes_first_is_explained_by_what_follows() {
        let machine = Machine::start();
        machine.announce();
        let (mut running, agent) = machine.running();
        let guest = machine.watch.guest().clone();
        drop(agent);
        let waiting = thread::spawn(move || running.wait().unwrap_err().to_string());
        guest.was_reset(ResetBy::Client);
        assert_eq!(waiting.join().unwrap(), "'sleep 1000': the guest was reset");
    }

    #[test]
    fn a_port_without_a_listener_in_the_guest_is_named() {
        let machine = Machine::start();
        machine.announce();
        let guest = machine.watch.guest().clone();
        let asking = thread::spawn(move || guest.run(["true"]).unwrap_err().to_string());
        let (mut stream, _) = machine.device.accept().unwrap();
        let mut line = [0; 14];
        stream.read_exact(&mut line).unwrap();
        drop(stream);
        let expected = "nothing in the guest listens on vsock port 64023";
        assert_eq!(asking.join().unwrap(), expected);
    }
}
