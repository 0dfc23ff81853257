//! A socket registered with tokio's runtime.

#![allow(
    unsafe_code,
    reason = "the runtime has to be promised that the descriptor stays open"
)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::unix::AsyncFd;

use crate::socket::Socket;

/// A socket, for as long as it is registered.
pub(super) struct Watched(Socket);

impl Watched {
    /// Registers a socket with this thread's runtime.
    pub(super) fn new(socket: Socket) -> io::Result<AsyncFd<Self>> {
        // SAFETY: a `Socket` owns its descriptor, and neither it nor this type gives it away or replaces it before it
        // is dropped, so that `as_raw_fd` returns the same open descriptor as long as the `AsyncFd` lives.
        Ok(unsafe { AsyncFd::register(Self(socket)) }?)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.0
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
