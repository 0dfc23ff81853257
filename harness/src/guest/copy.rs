//! Files and trees, into the guest and out of it.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use faultvisor_agent_protocol::failure::Failure;
use faultvisor_agent_protocol::frame::{Frame, FrameError, Kind};
use faultvisor_agent_protocol::request::{Copied, CopyIn, CopyOut, Request};
use faultvisor_agent_protocol::text::Text;
use faultvisor_agent_protocol::tree::{self, Destination, Receiver, SendError};

use super::error::GuestError;
use super::state::Guest;

/// How long a copy may stand still.
const PATIENCE: Duration = Duration::from_secs(300);
/// What is kept of the permissions that a guest sends: a guest makes no program that runs as another user here.
const MODES: u32 = 0o777;

impl Guest {
    /// Copies a file or a tree of the host's into the guest, with permissions and symbolic links.
    ///
    /// If `to` is a directory there, or ends with a slash, the copy gets its own name in it. A file is replaced when
    /// its copy is complete; a directory that is there keeps its permissions and what else is in it.
    ///
    /// # Errors
    ///
    /// Something cannot be read here or written there, as on a full file system, or the guest ends.
    pub fn copy_in(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<Copied, GuestError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let operation = format!(
            "copying '{}' to '{}' in the guest",
            from.display(),
            to.display()
        );
        // Before anything is asked for: the message is of this side.
        let metadata = from.metadata();
        metadata.map_err(|source| GuestError::Host {
            operation: operation.clone(),
            source,
        })?;
        let request = Request::CopyIn(CopyIn {
            to: Text::from(to),
            name: Text::from(own_name(from)),
        });
        let mut connection = self.open(&operation, &request)?;
        connection.set_patience(Some(PATIENCE))?;
        let writer = connection.writer();
        let sent = tree::send(from, |kind, payload| {
            // A failure in the guest comes before the end.
            if connection.has_news() {
                return Err(FrameError::Ended);
            }
            writer.write(kind, payload)
        });
        match sent {
            Ok(_) | Err(SendError::Sink(FrameError::Ended)) => connection.message(Kind::Answer),
            Err(SendError::Sink(error)) => Err(connection.failed(error)),
            Err(SendError::Source(failure)) => Err(GuestError::failed(&operation, failure)),
        }
    }

    /// Copies a file or a tree of the guest's to the host, with permissions, but for those to run as another user, and
    /// with symbolic links, which are not followed. A directory that is there keeps its permissions.
    ///
    /// If `to` is a directory, or ends with a slash, the copy gets its own name in it. Whatever the guest sends,
    /// nothing is written outside of the copy.
    ///
    /// # Errors
    ///
    /// Something cannot be read there or written here, or the guest ends.
    pub fn copy_out(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<Copied, GuestError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let operation = format!(
            "copying '{}' in the guest to '{}'",
            from.display(),
            to.display()
        );
        let failed = |failure: Failure| GuestError::failed(&operation, failure);
        let destination = Destination {
            path: to.to_owned(),
            name: from.file_name().unwrap_or(OsStr::new("root")).to_owned(),
            mode_mask: MODES,
        };
        let mut receiver = Receiver::new(&destination).map_err(failed)?;
        let request = Request::CopyOut(CopyOut {
            from: Text::from(from),
        });
        let mut connection = self.open(&operation, &request)?;
        connection.set_patience(Some(PATIENCE))?;
        loop {
            let frame = connection.frame()?;
            let frame = Frame {
                kind: frame.kind,
                payload: &frame.payload,
            };
            if let Some(copied) = receiver.take(frame).map_err(failed)? {
                return Ok(copied);
            }
        }
    }
}

/// The last part of a path, or of what one such as `.` stands for.
fn own_name(path: &Path) -> OsString {
    let name = path.file_name().map(OsStr::to_owned);
    let resolved = || Some(path.canonicalize().ok()?.file_name()?.to_owned());
    name.or_else(resolved).unwrap_or_else(|| "root".into())
}
