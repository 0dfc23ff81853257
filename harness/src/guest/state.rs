//! The agent of a guest: where it is reached, whether it is ready, and what has ended it.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use faultvisor_agent_protocol::frame::Kind;
use faultvisor_agent_protocol::request::{
    Description, Empty, Info, Mark, Power, PowerAction, Request, Tcp,
};
use faultvisor_agent_protocol::run::{Attach, Run, Started};

use super::command::Command;
use super::connect::{Address, Connection};
use super::error::GuestError;
use super::output::Output;
use super::running::Running;
use crate::console::deadline;

/// The time limit for an agent to start and to answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the reason of a lost connection may take to arrive on another way.
const REASON_WITHIN: Duration = Duration::from_millis(500);

/// The agent of a guest. Clones of it are the same, and can be used on other threads.
#[derive(Debug, Clone)]
pub struct Guest(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: Address,
    timeout: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    readiness: Readiness,
    /// Whether the next reset is one that was asked for.
    expects_reset: bool,
    connections: HashMap<u64, Open>,
    /// Why connections were lost that have not noticed yet.
    reasons: HashMap<u64, String>,
    next: u64,
}

#[derive(Debug)]
struct Open {
    stream: UnixStream,
}

/// Whether there is an agent.
#[derive(Debug, Default, PartialEq, Eq)]
enum Readiness {
    /// It can be connected to at any time, or not.
    #[default]
    Unknown,
    /// It has not started yet.
    Awaited,
    /// It has started.
    Ready,
    /// It has ended with its guest, which may start again.
    Down(String),
    /// It has ended with its machine.
    Ended(String),
}

/// Who resets a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetBy {
    /// The guest itself, as when it panics or reboots.
    Guest,
    /// A client of the monitor.
    Client,
}

impl Guest {
    /// The agent at an address, which is there already.
    pub fn at(address: Address) -> Self {
        Self::with(address, TIMEOUT, Readiness::Unknown)
    }

    /// The agent behind the socket of a vsock device, whose start is announced.
    pub(crate) fn awaited(socket: PathBuf) -> Self {
        let port = faultvisor_agent_protocol::AGENT_PORT;
        Self::with(Address::Vsock(socket, port), TIMEOUT, Readiness::Awaited)
    }

    fn with(address: Address, timeout: Duration, readiness: Readiness) -> Self {
        Self(Arc::new(Shared {
            address,
            timeout,
            state: Mutex::new(State {
                readiness,
                ..State::default()
            }),
            changed: Condvar::new(),
        }))
    }

    /// Waits until the agent is ready. It ends at once when the machine does, or when its guest panics.
    ///
    /// # Errors
    ///
    /// It is not ready in time, or never will be.
    pub fn wait_until_ready(&self, within: Duration) -> Result<(), GuestError> {
        let by = deadline(within);
        let mut state = self.state();
        loop {
            match &state.readiness {
                Readiness::Ready | Readiness::Unknown => return Ok(()),
                Readiness::Down(why) | Readiness::Ended(why) => {
                    return Err(GuestError::Ended {
                        operation: "waiting for the guest's agent".to_owned(),
                        why: why.clone(),
                    });
                }
                Readiness::Awaited => {}
            }
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(GuestError::NotReady { within });
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Runs a program until it ends, at the latest when its time limit has passed.
    ///
    /// # Errors
    ///
    /// It cannot be run, or the guest ends. That it fails is an [`Output`].
    pub fn run(&self, command: impl Into<Command>) -> Result<Output, GuestError> {
        let command = command.into().limited();
        let limit = command.output_bytes;
        let input = command.input.clone();
        self.start(command)?.output(&input, limit)
    }

    /// Starts a program.
    ///
    /// # Errors
    ///
    /// It cannot be run, or the guest ends.
    pub fn spawn(&self, command: impl Into<Command>) -> Result<Running, GuestError> {
        let command = command.into();
        let input = command.input.clone();
        let mut running = self.start(command)?;
        if !input.is_empty() {
            running.send_all(input)?;
        }
        Ok(running)
    }

    fn start(&self, command: Command) -> Result<Running, GuestError> {
        let typed = command.to_string();
        let limit = command.time_limit();
        let limit_ms = limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let run = Run {
            limit_ms,
            ..command.run
        };
        let has_input = run.input;
        let mut connection = self.open(&format!("'{typed}'"), &Request::Run(run))?;
        let started: Started = connection.answer()?;
        Ok(Running::new(connection, typed, started, limit, has_input))
    }

    /// Goes on with a program whose connection was lost, as far as its output is kept.
    ///
    /// # Errors
    ///
    /// The agent does not know it any more, as after a reset of the guest.
    pub fn attach(&self, lost: &Running) -> Result<Running, GuestError> {
        let attach = Attach {
            run: lost.run(),
            boot: lost.boot().to_owned(),
            output: lost.received().0,
            errors: lost.received().1,
        };
        let operation = format!("attaching to '{}'", lost.command());
        let mut connection = self.open(&operation, &Request::Attach(attach))?;
        let started: Started = connection.answer()?;
        Ok(lost.continued(connection, started))
    }

    /// Connects to a TCP port of the guest's loopback: the stream carries what the server there says.
    ///
    /// # Errors
    ///
    /// Nothing listens on the port, or the guest ends.
    pub fn tcp(&self, port: u16) -> Result<UnixStream, GuestError> {
        let operation = format!("connecting to TCP port {port} in the guest");
        let mut connection = self.open(&operation, &Request::Tcp(Tcp { port }))?;
        let Empty {} = connection.answer()?;
        connection.stream()
    }

    /// Writes a line into the log of the guest's kernel.
    ///
    /// # Errors
    ///
    /// It cannot be written, or the guest ends.
    pub fn mark(&self, text: impl Into<String>) -> Result<(), GuestError> {
        let text = text.into();
        let Empty {} = self.ask("writing a mark", &Request::Mark(Mark { text }))?;
        Ok(())
    }

    /// Has the guest sync its file systems and power off. The machine ends a moment later.
    ///
    /// # Errors
    ///
    /// The agent does not answer.
    pub fn power_off(&self) -> Result<(), GuestError> {
        let action = PowerAction::Off;
        let Empty {} = self.ask("powering the guest off", &Request::Power(Power { action }))?;
        Ok(())
    }

    /// Has the guest sync its file systems and start again. [`wait_until_ready`](Self::wait_until_ready) waits for its
    /// agent then.
    ///
    /// # Errors
    ///
    /// The agent does not answer.
    pub fn reboot(&self) -> Result<(), GuestError> {
        let action = PowerAction::Reboot;
        let Empty {} = self.ask("rebooting the guest", &Request::Power(Power { action }))?;
        // The machine tells of the reset later.
        self.state().expects_reset = true;
        self.restarts("the guest reboots");
        Ok(())
    }

    /// Describes the guest and its agent.
    ///
    /// # Errors
    ///
    /// The agent does not answer.
    pub fn describe(&self) -> Result<Description, GuestError> {
        self.ask("describing the guest", &Request::Info(Info {}))
    }

    /// An operation of one answer.
    pub(crate) fn ask<T: serde::de::DeserializeOwned>(
        &self,
        operation: &str,
        request: &Request,
    ) -> Result<T, GuestError> {
        self.open(operation, request)?.message(Kind::Answer)
    }

    /// Begins an operation once the agent is ready.
    pub(crate) fn open(
        &self,
        operation: &str,
        request: &Request,
    ) -> Result<Connection, GuestError> {
        let by = deadline(self.timeout());
        loop {
            self.wait_until_ready(by.saturating_duration_since(Instant::now()))?;
            match Connection::open(self, operation, request) {
                // A reset may be under way of which this side does not know yet.
                Err(GuestError::NobodyListens { .. } | GuestError::Connect { .. })
                    if self.is_awaited_again() => {}
                opened => return opened,
            }
        }
    }

    /// Whether the agent that was ready is awaited again, or has ended, which is known within a moment.
    fn is_awaited_again(&self) -> bool {
        let by = deadline(REASON_WITHIN);
        let mut state = self.state();
        while state.readiness == Readiness::Ready {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.readiness != Readiness::Unknown
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent has started.
    pub(crate) fn is_ready(&self) {
        let mut state = self.state();
        if !matches!(state.readiness, Readiness::Ended(_)) {
            state.readiness = Readiness::Ready;
        }
        self.0.changed.notify_all();
    }

    /// The guest starts again: what is under way fails, and the agent is awaited.
    pub(crate) fn restarts(&self, why: &str) {
        // Without a watch nobody would tell of its start.
        if self.state().readiness != Readiness::Unknown {
            self.end(Readiness::Awaited, why);
        }
    }

    /// The machine was reset. A guest that resets itself before its agent is ready does not get that far.
    pub(crate) fn was_reset(&self, by: ResetBy) {
        let mut state = self.state();
        let is_expected = std::mem::take(&mut state.expects_reset) || by == ResetBy::Client;
        let is_early = state.readiness == Readiness::Awaited;
        drop(state);
        if is_early && !is_expected {
            self.is_down("the guest was reset before its agent was ready");
        } else {
            self.restarts("the guest was reset");
        }
    }

    /// The guest has ended, until it starts again: what is under way fails.
    pub(crate) fn is_down(&self, why: &str) {
        self.end(Readiness::Down(why.to_owned()), why);
    }

    /// The guest has ended for good: what is under way fails, and so does what follows.
    pub(crate) fn has_ended(&self, why: &str) {
        self.end(Readiness::Ended(why.to_owned()), why);
    }

    fn end(&self, readiness: Readiness, why: &str) {
        let mut state = self.state();
        let State {
            connections,
            reasons,
            readiness: now,
            ..
        } = &mut *state;
        if !matches!(now, Readiness::Ended(_)) {
            *now = readiness;
        }
        for (id, open) in connections.drain() {
            reasons.insert(id, why.to_owned());
            // It may have ended.
            let _ = open.stream.shutdown(Shutdown::Both);
        }
        self.0.changed.notify_all();
    }

    /// Notes a connection, to be interrupted when the guest ends.
    pub(crate) fn register(&self, stream: &UnixStream, operation: &str) -> Result<u64, GuestError> {
        let stream = stream.try_clone().map_err(|source| GuestError::Host {
            operation: operation.to_owned(),
            source,
        })?;
        let mut state = self.state();
        if let Readiness::Ended(why) = &state.readiness {
            return Err(GuestError::Ended {
                operation: operation.to_owned(),
                why: why.clone(),
            });
        }
        state.next += 1;
        let id = state.next;
        state.connections.insert(id, Open { stream });
        Ok(id)
    }

    pub(crate) fn unregister(&self, id: u64) {
        let mut state = self.state();
        state.connections.remove(&id);
        state.reasons.remove(&id);
    }

    /// The error of a connection that has ended. Its reason may arrive a moment later.
    pub(crate) fn lost(&self, id: u64, operation: String) -> GuestError {
        let by = deadline(REASON_WITHIN);
        let mut state = self.state();
        loop {
            if let Some(why) = state.reasons.get(&id) {
                let why = why.clone();
                return GuestError::Ended { operation, why };
            }
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() || state.readiness == Readiness::Unknown {
                return GuestError::Lost { operation };
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
