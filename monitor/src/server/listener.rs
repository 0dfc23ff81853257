//! The subscriber that accepts clients.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use faultvisor_schema::CommandError;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EventFd};

use crate::identity::SessionId;
use crate::server::state::{Server, Shared};
use crate::server::waiting::Waiting;
use crate::transport::address::ListenAddress;
use crate::transport::socket::Socket;
use crate::transport::stream::Stream;
use crate::wire::request::Stage;

/// Most clients accepted before others are served again.
const ACCEPTS_PER_TURN: usize = 16;

/// An address and its sessions.
pub(crate) struct Listener {
    sockets: Vec<Socket>,
    address: ListenAddress,
    server: Shared,
    sessions: BTreeSet<SessionId>,
    /// Waits for the first client.
    waiting: Option<Arc<Waiting>>,
    /// Closed when there are no descriptors left, so that a client can be accepted and turned away: one that stays in
    /// the backlog keeps the socket ready, and the thread busy, for ever.
    spare: Option<EventFd>,
}

impl Listener {
    pub(crate) fn new(
        sockets: Vec<Socket>,
        address: ListenAddress,
        server: Shared,
        waiting: Option<Arc<Waiting>>,
    ) -> Self {
        Self {
            sockets,
            address,
            server,
            sessions: BTreeSet::new(),
            waiting,
            spare: spare(),
        }
    }

    /// The events that it subscribes to.
    pub(crate) fn events(&self) -> Vec<Events> {
        let sockets = self.sockets.iter();
        sockets
            .map(|socket| Events::new(socket, EventSet::IN))
            .collect()
    }

    /// Accepts the clients of one of the sockets.
    fn accept(&mut self, fd: RawFd) {
        let Some(index) = self
            .sockets
            .iter()
            .position(|socket| socket.as_raw_fd() == fd)
        else {
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            match self.sockets[index].accept() {
                Ok(stream) => self.welcome(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // That client has gone already; there may be others.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    if self.spare.take().is_some() {
                        drop(self.sockets[index].accept());
                    }
                    self.spare = spare();
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: Stream) {
        let server: &mut Server = &mut self.server.borrow_mut();
        self.sessions.retain(|session| server.has_session(*session));
        let limit = self
            .address
            .max_clients
            .unwrap_or(server.settings.session_limit);
        if self.sessions.len() >= limit {
            let error = CommandError::generic(format!("{limit} clients are connected already"));
            let failure = Stage::Execution.failure(error);
            if let Ok(line) = self.address.protocol.farewell(&failure) {
                // A new socket has room for a line. The client's input is read, as closing with unread input would
                // reset the connection and lose the line.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write(&line);
            }
            return;
        }
        self.sessions.insert(server.begin(stream, &self.address));
        if let Some(waiting) = self.waiting.take() {
            waiting.arrived();
        }
    }
}

/// A descriptor that a confined thread can make, as it opens no file.
fn spare() -> Option<EventFd> {
    EventFd::new(EFD_CLOEXEC).ok()
}

impl MutEventSubscriber for Listener {
    fn init(&mut self, _: &mut EventOps<'_>) {}

    fn process(&mut self, events: Events, _: &mut EventOps<'_>) {
        self.accept(events.fd());
    }
}
