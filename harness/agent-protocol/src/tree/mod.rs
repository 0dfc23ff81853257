//! Files and trees: sent as frames, and received from them. Both sides copy in both directions.

mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use receive::{Destination, Receiver};
pub use send::{SendError, send};

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::failure::{Failure, FailureKind};

/// The failure of an operation on a file, as one line.
fn failed(what: impl fmt::Display, error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => Failure::new(
            FailureKind::NoSpace,
            format_args!("{what}: the file system is full"),
        ),
        Some(Errno::DQUOT) => Failure::new(
            FailureKind::NoSpace,
            format_args!("{what}: the quota is used up"),
        ),
        Some(Errno::NOENT) => Failure::new(
            FailureKind::NoSuchFile,
            format_args!("{what}: there is no such file or directory"),
        ),
        _ => {
            let text = error.to_string();
            let why = text.split(" (os error").next().unwrap_or_default();
            Failure::new(FailureKind::System, format_args!("{what}: {why}"))
        }
    }
}
