//! A unix socket as the guest's terminal, for one client at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use faultvisor_devices::blocking::Blocking;
use faultvisor_devices::console::{ConsoleOutput, OnFailure};
use faultvisor_devices::legacy::Serial;
use vmm_sys_util::eventfd::EventFd;

use faultvisor_monitor::unix_socket::SocketFile;

use super::retry::Retry;

/// Accepts a client if there is none, and passes its input to the UART. The console's own thread sends it the UART's
/// output.
pub(super) struct SocketConsole {
    listener: UnixListener,
    /// Removes the socket's file at the end.
    _path: SocketFile,
    output: ConsoleOutput,
    serial: Arc<Serial>,
    room: EventFd,
    client: Option<Arc<UnixStream>>,
    pending: Vec<u8>,
    /// The pause after a failed accept. The client stays in the backlog meanwhile.
    retry: Retry,
}

/// The console's handle of a client, which needs no descriptor of its own.
struct ClientOutput(Arc<UnixStream>);

impl Write for ClientOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for ClientOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl SocketConsole {
    pub(super) fn new(
        listener: UnixListener,
        path: SocketFile,
        output: ConsoleOutput,
        serial: Arc<Serial>,
        room: EventFd,
    ) -> io::Result<Self> {
        Ok(Self {
            listener,
            _path: path,
            output,
            serial,
            room,
            client: None,
            pending: Vec::new(),
            retry: Retry::new()?,
        })
    }

    fn accept(&mut self, ops: &mut EventOps<'_>) {
        match self.listener.accept() {
            Ok((client, _)) => {
                let client = Arc::new(client);
                let output = Blocking(ClientOutput(client.clone()));
                self.output.attach(Box::new(output), OnFailure::Detach);
                self.watch(ops, &Events::new(&*client, EventSet::IN), true);
                self.watch(ops, &Events::new(&self.listener, EventSet::IN), false);
                self.client = Some(client);
            }
            // It has disconnected already.
            Err(error) if is_nothing(&error) || error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a client of the console waits");
                self.watch(ops, &Events::new(&self.listener, EventSet::IN), false);
                self.retry.pause();
            }
        }
    }

    /// Reads once from the client; without one, or after its end, waits for the next.
    fn read(&mut self, ops: &mut EventOps<'_>) {
        let Some(client) = &self.client else {
            return;
        };
        let mut buffer = [0; 1024];
        match (&**client).read(&mut buffer) {
            Ok(count) if count > 0 => {
                self.pending.extend(&buffer[..count]);
                return;
            }
            Err(error) if is_nothing(&error) => return,
            Ok(_) | Err(_) => {}
        }
        let events = Events::new(&**client, EventSet::IN);
        // Wakes the console's thread from a write that the client would never take.
        let _ = client.shutdown(std::net::Shutdown::Both);
        self.watch(ops, &events, false);
        self.watch(ops, &Events::new(&self.listener, EventSet::IN), true);
        self.client = None;
    }

    /// Passes input to the UART, and reads no more from the client until it took everything.
    fn deliver(&mut self, ops: &mut EventOps<'_>) {
        let was_waiting = !self.pending.is_empty();
        let taken = self.serial.receive(&self.pending);
        self.pending.drain(..taken);
        if let Some(client) = &self.client
            && was_waiting
        {
            let wanted = if self.pending.is_empty() {
                EventSet::IN
            } else {
                EventSet::empty()
            };
            if let Err(error) = ops.modify(Events::new(&**client, wanted)) {
                tracing::error!(%error, "console socket");
            }
        }
    }

    fn watch(&self, ops: &mut EventOps<'_>, events: &Events, on: bool) {
        let events = Events::new_raw(events.fd(), events.event_set());
        let result = if on {
            ops.add(events)
        } else {
            ops.remove(events)
        };
        if let Err(error) = result {
            tracing::error!(%error, "console socket");
        }
    }
}

/// Whether a call failed transiently, and is to be retried.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

impl MutEventSubscriber for SocketConsole {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.retry.watch(ops);
        self.watch(ops, &Events::new(&self.room, EventSet::IN), true);
        self.watch(ops, &Events::new(&self.listener, EventSet::IN), true);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        if events.fd() == self.room.as_raw_fd() {
            let _ = self.room.read();
        } else if events.fd() == self.listener.as_raw_fd() {
            self.accept(ops);
        } else if self.retry.has_ended(&events) {
            self.watch(ops, &Events::new(&self.listener, EventSet::IN), true);
        } else {
            self.read(ops);
        }
        self.deliver(ops);
    }
}
