//! The monitor's public interface: setting up, starting, ending.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use faultvisor_schema::{Connection, Event, Signals};

use crate::inbox::{Item, MonitorInbox};
use crate::machine::Machine;
use crate::server::listener::Listener;
use crate::server::reactor::{Reactor, ReactorError};
use crate::server::settings::Settings;
use crate::server::state::Server;
use crate::server::waiting::Waiting;
use crate::thread::{ThreadKind, ThreadStart};
use crate::transport::address::{ListenAddress, Wait};
use crate::transport::binding;
use crate::transport::error::BindError;
use crate::transport::socket::{Bound, LocalAddress, Socket};
use crate::transport::stdio::{self, Pump};
use crate::transport::stream::Stream;

/// Sufficient for a deeply nested command, and less than a huge page of the host, which would be resident as a whole.
const STACK: usize = (2 << 20) - (64 << 10);

/// A monitor that is being set up.
#[derive(Clone, Debug, Default)]
pub struct MonitorBuilder {
    settings: Settings,
    signals: Signals,
    thread_start: ThreadStart,
}

impl MonitorBuilder {
    /// Most clients of each listener; 64 by default.
    #[must_use]
    pub fn session_limit(mut self, sessions: usize) -> Self {
        self.settings.session_limit = sessions;
        self
    }

    /// The output of a session in bytes beyond which it loses events; 4 MiB by default.
    #[must_use]
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.settings.output_limit = bytes;
        self
    }

    /// The output of all sessions together in bytes, beside 128 KiB for each; 32 MiB by default, or the limit of a
    /// single session if that is more.
    #[must_use]
    pub fn total_output_limit(mut self, bytes: usize) -> Self {
        self.settings.total_output_limit = bytes;
        self
    }

    /// Most events that wait for the monitor's thread; 65,536 by default.
    #[must_use]
    pub fn event_limit(mut self, events: usize) -> Self {
        self.settings.event_limit = events;
        self
    }

    /// The interval of rate-limited default events; a second by default, zero for no limit.
    #[must_use]
    pub fn default_event_interval(mut self, interval: Duration) -> Self {
        self.settings.default_event_interval = interval;
        self
    }

    /// The signals whose events clients receive; by default its own, to be raised on [`Monitor::signals`].
    #[must_use]
    pub fn signals(mut self, signals: &Signals) -> Self {
        self.signals = signals.clone();
        self
    }

    /// The first call of each of its threads; by default none.
    #[must_use]
    pub fn on_thread_start(mut self, first: impl Fn(ThreadKind) + Send + Sync + 'static) -> Self {
        self.thread_start = ThreadStart::new(first);
        self
    }

    /// Listens. Clients can connect, and are served once the monitor is started.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on.
    pub fn bind(self, addresses: &[ListenAddress]) -> Result<Monitor, BindError> {
        let inbox = MonitorInbox::new(self.settings.event_limit).map_err(BindError::Setup)?;
        let waiting = Arc::new(Waiting::default());
        let raised = Arc::clone(&inbox);
        let handler: Arc<dyn Fn(Event) + Send + Sync> = Arc::new(move |event| raised.raise(event));
        let mut monitor = Monitor {
            settings: self.settings,
            connections: self.signals.connect_all(&handler),
            signals: self.signals,
            thread_start: self.thread_start,
            inbox,
            sockets: Vec::new(),
            connected: Vec::new(),
            stdio: None,
            local_addresses: Vec::new(),
            waiting,
        };
        for address in addresses {
            monitor.listen(address)?;
        }
        Ok(monitor)
    }
}

/// A monitor that listens and has not been started.
#[derive(Debug)]
pub struct Monitor {
    settings: Settings,
    signals: Signals,
    thread_start: ThreadStart,
    /// The connections that pass events to the inbox.
    connections: Vec<Connection>,
    inbox: Arc<MonitorInbox>,
    /// The listening sockets, by address.
    sockets: Vec<(Vec<Socket>, ListenAddress)>,
    connected: Vec<(Stream, ListenAddress)>,
    stdio: Option<ListenAddress>,
    local_addresses: Vec<LocalAddress>,
    waiting: Arc<Waiting>,
}

/// A monitor cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host refuses a thread.
    #[error("cannot start the monitor's thread: {0}")]
    Thread(#[source] io::Error),
    /// Standard input and output cannot be used.
    #[error("cannot use standard input and output for the monitor: {0}")]
    Stdio(#[source] io::Error),
    /// The loop cannot be set up.
    #[error("cannot start the monitor: {0}")]
    Loop(String),
}

impl Monitor {
    /// Begins to set one up.
    #[must_use]
    pub fn builder() -> MonitorBuilder {
        MonitorBuilder::default()
    }

    /// The signals to raise events on; events raised before the start are kept.
    #[must_use]
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Its addresses, in the order in which they were given; a host name may have several.
    #[must_use]
    pub fn local_addresses(&self) -> &[LocalAddress] {
        &self.local_addresses
    }

    /// Calls `then` once every listener with `wait=on` has had its first client: in the monitor's thread, or at once if
    /// none waits. It is not called if the monitor ends before.
    pub fn when_clients_came(&self, then: impl FnOnce() + Send + 'static) {
        self.waiting.then(Box::new(then));
    }

    fn listen(&mut self, address: &ListenAddress) -> Result<(), BindError> {
        for (bound, locals) in binding::open(address)? {
            match bound {
                Bound::Listening(sockets) => {
                    if address.waits() {
                        self.waiting.expect();
                    }
                    if address.wait == Wait::AsQemu {
                        tracing::warn!(
                            "the machine waits for a client on {address}; wait=off starts it at once"
                        );
                    }
                    self.sockets.push((sockets, address.clone()));
                }
                // This client is connected already.
                Bound::Connected(stream) => self.connected.push((stream, address.clone())),
                Bound::Stdio => {
                    if self.stdio.replace(address.clone()).is_some() {
                        return Err(BindError::StdioTwice);
                    }
                }
            }
            self.local_addresses.extend(locals);
        }
        Ok(())
    }

    /// Starts to serve clients, in a thread of its own.
    ///
    /// # Errors
    ///
    /// The host refuses what the thread and its loop need.
    pub fn start(mut self, machine: Box<dyn Machine>) -> Result<MonitorHandle, StartError> {
        let stdio = self.stdio.take().map(|address| {
            let (stream, pump) = stdio::open(&self.thread_start)?;
            Ok((stream, address, pump))
        });
        let stdio = stdio.transpose().map_err(StartError::Stdio)?;
        let signals = self.signals.clone();
        let connections = std::mem::take(&mut self.connections);
        let inbox = Arc::clone(&self.inbox);
        let local_addresses = self.local_addresses.clone();
        let (ready, is_ready) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("monitor".to_owned())
            .stack_size(STACK)
            .spawn(move || serve(self, machine, stdio, &ready))
            .map_err(StartError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(MonitorHandle {
                thread: Some(thread),
                is_ending: false,
                signals,
                connections,
                inbox,
                local_addresses,
            }),
            Ok(Err(error)) => Err(StartError::Loop(error.to_string())),
            Err(error) => Err(StartError::Loop(error.to_string())),
        }
    }
}

/// The monitor's thread.
fn serve(
    monitor: Monitor,
    machine: Box<dyn Machine>,
    stdio: Option<(Stream, ListenAddress, Pump)>,
    ready: &SyncSender<Result<(), ReactorError>>,
) {
    let Monitor {
        settings,
        thread_start,
        inbox,
        sockets,
        connected,
        waiting,
        ..
    } = monitor;
    thread_start.begin(ThreadKind::Server);
    let server = Server::new(settings, machine, Arc::clone(&inbox));
    let server = Rc::new(RefCell::new(server));
    let mut reactor = match Reactor::new(Rc::clone(&server), &inbox) {
        Ok(reactor) => reactor,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let pump = stdio.map(|(stream, address, pump)| {
        server.borrow_mut().begin(stream, &address);
        pump
    });
    for (stream, address) in connected {
        server.borrow_mut().begin(stream, &address);
    }
    for (sockets, address) in sockets {
        let waiting = address.waits().then(|| Arc::clone(&waiting));
        let listener = Listener::new(sockets, address, Rc::clone(&server), waiting);
        let events = listener.events();
        if let Err(error) = reactor.add(Box::new(listener), events) {
            let _ = ready.send(Err(error));
            return;
        }
    }
    let _ = ready.send(Ok(()));
    reactor.run();
    let time = server.borrow().time_to_close(Instant::now());
    drop(reactor);
    // The last owner of the sessions: their streams are closed here, so that standard output can be written to its end.
    drop(server);
    if let Some(pump) = pump {
        pump.wait(time);
    }
}

/// A monitor that serves its clients.
#[derive(Debug)]
pub struct MonitorHandle {
    thread: Option<JoinHandle<()>>,
    /// It has been told to end.
    is_ending: bool,
    signals: Signals,
    connections: Vec<Connection>,
    inbox: Arc<MonitorInbox>,
    local_addresses: Vec<LocalAddress>,
}

impl MonitorHandle {
    /// The signals to raise events on.
    #[must_use]
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Its addresses, in the order in which they were given; a host name may have several.
    #[must_use]
    pub fn local_addresses(&self) -> &[LocalAddress] {
        &self.local_addresses
    }

    /// Ends it: sends queued output within the limit `time`, and removes its sockets.
    ///
    /// This includes events raised and answers sent before.
    pub fn shutdown(mut self, time: Duration) {
        self.end(time);
    }

    /// Begins to end it, without waiting.
    pub fn begin_shutdown(&mut self, time: Duration) {
        if !std::mem::replace(&mut self.is_ending, true) {
            self.inbox.push(Item::Shutdown(time));
        }
    }

    fn end(&mut self, time: Duration) {
        self.begin_shutdown(time);
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!("the monitor's thread has panicked");
            }
            self.connections.clear();
        }
    }
}

impl Drop for MonitorHandle {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}
