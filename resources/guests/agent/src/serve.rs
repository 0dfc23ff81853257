//! Takes clients: a thread each.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::{self, FrameError, Kind};
use faultvisor_agent_protocol::hello::Hello;
use faultvisor_agent_protocol::request::Request;

use crate::agent::{Agent, Slot};
use crate::connection::{Connection, Listener};
use crate::operations;
use crate::options::Listen;
use crate::ready;

/// Stack of a connection's thread.
const STACK: usize = 256 << 10;
/// The pause after a failure to take a client.
const BACK_OFF: Duration = Duration::from_millis(20);
/// How long a client may take to say what it wants, and to take a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves clients, and returns only when it cannot listen.
///
/// # Errors
///
/// It cannot listen; one line.
pub fn serve(agent: &Arc<Agent>, listen: &Listen) -> Result<Infallible, String> {
    let listener = Listener::bind(listen)?;
    match listen {
        Listen::Vsock(_) => {
            let hello = agent.hello.clone();
            let thread = thread::Builder::new().name("ready".into());
            let _ = thread.spawn(move || ready::tell(&hello));
        }
        Listen::Unix(path) => {
            let _ = writeln!(std::io::stdout(), "listening on {}", path.display());
        }
    }
    loop {
        let connection = match listener.accept() {
            Ok(connection) => connection,
            // A client that is gone already, or a lack of descriptors or memory, which ends with other connections.
            Err(_) => {
                thread::sleep(BACK_OFF);
                continue;
            }
        };
        let slot = match agent.slot() {
            Ok(slot) => slot,
            Err(failure) => {
                turn_away(agent, connection, &failure);
                continue;
            }
        };
        let agent = Arc::clone(agent);
        let thread = thread::Builder::new()
            .name("connection".into())
            .stack_size(STACK);
        // Without a thread, the connection is closed.
        let _ = thread.spawn(move || converse(&agent, connection, slot));
    }
}

/// Refuses a client without waiting for it.
fn turn_away(agent: &Agent, mut connection: Connection, failure: &Failure) {
    let mut bytes = Vec::new();
    let appended = frame::append_message(&mut bytes, Kind::Hello, &agent.hello)
        .and_then(|()| frame::append_message(&mut bytes, Kind::Failure, failure));
    if appended.is_ok() && connection.set_nonblocking().is_ok() {
        // A new connection has room for it.
        let _ = connection.write(&bytes);
    }
}

fn converse(agent: &Arc<Agent>, mut connection: Connection, slot: Slot) {
    let _ = connection.set_patience(Some(PATIENCE));
    if frame::write_message(&mut connection, Kind::Hello, &agent.hello).is_err() {
        return;
    }
    match request(agent, &mut connection) {
        Ok(Some(request)) => operations::perform(agent, connection, slot, request),
        Ok(None) => {}
        Err(failure) => refuse(connection, &failure),
    }
}

/// Reads the client's hello and its request; `None` if it leaves before.
fn request(agent: &Agent, connection: &mut Connection) -> Result<Option<Request>, Failure> {
    let mut buffer = Vec::new();
    let Some(frame) = frame::read(connection, &mut buffer).map_err(|error| malformed(&error))?
    else {
        return Ok(None);
    };
    let hello: Hello = frame
        .message(Kind::Hello)
        .map_err(|error| malformed(&error))?;
    agent.hello.agree(&hello)?;
    let Some(frame) = frame::read(connection, &mut buffer).map_err(|error| malformed(&error))?
    else {
        return Ok(None);
    };
    frame
        .message(Kind::Request)
        .map(Some)
        .map_err(|error| malformed(&error))
}

/// A client that does not speak the protocol.
pub fn malformed(error: &FrameError) -> Failure {
    let source = match error {
        FrameError::Io(source) => format!(": {source}"),
        _ => String::new(),
    };
    Failure::new(FailureKind::Malformed, format!("{error}{source}"))
}

/// Tells a client why its operation fails.
pub fn refuse(mut connection: Connection, failure: &Failure) {
    if frame::write_message(&mut connection, Kind::Failure, failure).is_ok() {
        close(connection);
    }
}

/// Closes a connection once the client has closed it: an earlier end could overtake what was written last.
pub fn close(mut connection: Connection) {
    let _ = connection.set_patience(Some(PATIENCE));
    if connection.finish().is_ok() {
        let mut rest = [0; 4096];
        while connection.read(&mut rest).is_ok_and(|count| count > 0) {}
    }
}
