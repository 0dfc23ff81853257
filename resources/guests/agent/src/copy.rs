//! Copies files and trees into the guest and out of it.

use std::time::Duration;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::{self, FrameError, Kind};
use faultvisor_agent_protocol::request::{Copied, CopyIn, CopyOut};
use faultvisor_agent_protocol::tree::{self, Destination, Receiver, SendError};

use crate::connection::Connection;
use crate::serve::malformed;

/// How long the other side may let a copy stand still, as while the machine is stopped on its host.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The permissions that are copied into the guest.
const MODES: u32 = 0o7777;

/// Receives a file or a tree; `None` if the client has gone.
pub fn copy_in(connection: &mut Connection, request: CopyIn) -> Result<Option<Copied>, Failure> {
    let _ = connection.set_patience(Some(PATIENCE));
    let mut receiver = Receiver::new(&Destination {
        path: request.to.into(),
        name: request.name.into(),
        mode_mask: MODES,
    })?;
    let mut buffer = Vec::new();
    loop {
        let frame = match frame::read(connection, &mut buffer) {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(FrameError::Ended) => return Ok(None),
            Err(error) => return Err(malformed(&error)),
        };
        // The client could not read what it copies.
        if frame.kind == Kind::Failure {
            return Ok(None);
        }
        if let Some(copied) = receiver.take(frame)? {
            return Ok(Some(copied));
        }
    }
}

/// Sends a file or a tree.
pub fn copy_out(connection: &mut Connection, request: &CopyOut) -> Result<(), Failure> {
    let _ = connection.set_patience(Some(PATIENCE));
    if request.from.as_bytes().is_empty() {
        let message = "no path is named";
        return Err(Failure::new(FailureKind::NoSuchFile, message));
    }
    let sent = tree::send(request.from.as_path(), |kind, payload| {
        frame::write(connection, kind, payload)
    });
    match sent {
        Ok(_) => Ok(()),
        Err(SendError::Source(failure)) => Err(failure),
        Err(SendError::Sink(error)) => Err(malformed(&error)),
    }
}
