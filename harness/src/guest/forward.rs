//! A port of the host's loopback that leads to a port of the guest's.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::error::GuestError;
use super::state::Guest;

/// The most connections at once. Others wait to be taken.
const CONNECTIONS: usize = 128;
/// The bytes of one read.
const READ_BYTES: usize = 32 << 10;

/// A port of the host's loopback that leads to a TCP port of the guest's, until this is dropped. Connections that have
/// been made go on.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    guest: Guest,
    port: u16,
    /// Readable when the listener shall end.
    stop: OwnedFd,
    connections: AtomicUsize,
    last_error: Mutex<Option<String>>,
}

impl Guest {
    /// Listens on a port of this host's loopback, and passes each connection to a TCP port of the guest's.
    ///
    /// # Errors
    ///
    /// The host refuses a port.
    pub fn forward(&self, port: u16) -> Result<Forward, GuestError> {
        let refused = |source| GuestError::Host {
            operation: format!("forwarding TCP port {port} of the guest"),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| refused(error.into()))?;
        let shared = Arc::new(Shared {
            guest: self.clone(),
            port,
            stop,
            connections: AtomicUsize::new(0),
            last_error: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("guest port".to_owned());
        thread
            .spawn(move || serve(&serving, &listener))
            .map_err(refused)?;
        Ok(Forward { address, shared })
    }
}

impl Forward {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why the last connection that failed was not passed to the guest: its client only sees it closed.
    pub fn last_error(&self) -> Option<String> {
        let last = self.shared.last_error.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It ends with the process otherwise.
        let _ = rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes());
    }
}

fn serve(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let mut watched = [
            PollFd::new(&shared.stop, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        // Without memory for it, a try tells.
        let _ = poll(&mut watched, None);
        if !watched[0].revents().is_empty() {
            return;
        }
        let Ok((client, _)) = listener.accept() else {
            continue;
        };
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            note(
                shared,
                format!("{CONNECTIONS} connections are open already"),
            );
            continue;
        }
        let connected = Arc::clone(shared);
        let thread = thread::Builder::new().name("guest stream".to_owned());
        // Without a thread, it is closed.
        let started = thread.spawn(move || {
            if let Err(why) = pass(&connected, &client) {
                note(&connected, why);
            }
            connected.connections.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn note(shared: &Shared, why: String) {
    let last = shared.last_error.lock();
    *last.unwrap_or_else(PoisonError::into_inner) = Some(why);
}

/// Passes bytes both ways until both have ended.
fn pass(shared: &Shared, client: &TcpStream) -> Result<(), String> {
    let server = shared
        .guest
        .tcp(shared.port)
        .map_err(|error| error.to_string())?;
    let told = |error: io::Error| error.to_string();
    client.set_nonblocking(false).map_err(told)?;
    client.set_nodelay(true).map_err(told)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let is_well = transfer(&server, client).is_ok();
            end(is_well, |how| client.shutdown(how), &server);
        });
        let is_well = transfer(client, &server).is_ok();
        end(is_well, |how| server.shutdown(how), &server);
    });
    Ok(())
}

/// Passes the end of a direction on, or ends both if it failed.
fn end(is_well: bool, to: impl Fn(Shutdown) -> io::Result<()>, server: &UnixStream) {
    if is_well {
        let _ = to(Shutdown::Write);
    } else {
        let _ = to(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

fn transfer(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
