//! The signals that end a watch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// A descriptor that signals the arrival of a signal.
#[derive(Debug)]
pub struct Signals {
    came: UnixStream,
}

impl Signals {
    /// Catches SIGINT and SIGTERM. A second one ends the process, in case the server does not answer.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn catch() -> io::Result<Self> {
        let (came, tell) = UnixStream::pair()?;
        let one_came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&one_came))?;
            flag::register(signal, Arc::clone(&one_came))?;
            low_level::pipe::register(signal, tell.try_clone()?)?;
        }
        Ok(Self { came })
    }

    /// Readable after a signal.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.came.as_fd()
    }
}
