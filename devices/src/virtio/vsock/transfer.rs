//! Moves bytes between guest memory and a socket, without a copy of them.
#![expect(unsafe_code, reason = "readv and writev take raw pointers")]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crate::block::model::io_buffers::IoBuffers;

/// Reads from a socket into the buffers, once. Zero is the end of the stream, if the buffers have room.
///
/// # Errors
///
/// The host's error, [`io::ErrorKind::WouldBlock`] among them.
pub(super) fn receive(socket: &UnixStream, buffers: &IoBuffers) -> io::Result<usize> {
    let (pieces, count) = pieces(buffers);
    // SAFETY: the pieces lie in memory that `buffers` keeps, and which the guest and the kernel may write at any time.
    moved(unsafe { libc::readv(socket.as_raw_fd(), pieces, count) })
}

/// Writes from the buffers to a socket, once.
///
/// # Errors
///
/// The host's error, [`io::ErrorKind::WouldBlock`] among them.
pub(super) fn send(socket: &UnixStream, buffers: &IoBuffers) -> io::Result<usize> {
    let (pieces, count) = pieces(buffers);
    // SAFETY: as in `receive`; the kernel only reads the pieces.
    moved(unsafe { libc::writev(socket.as_raw_fd(), pieces, count) })
}

fn pieces(buffers: &IoBuffers) -> (*const libc::iovec, libc::c_int) {
    let (pieces, count) = buffers.pieces();
    // At most IOV_MAX.
    (pieces, libc::c_int::try_from(count).unwrap_or_default())
}

fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
