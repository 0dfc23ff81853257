//! The host's signals: those that end the machine, and those that must not end the program.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Signals that ask for an orderly end.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Handles the host's signals. The stream becomes readable when one asks for the end.
///
/// # Errors
///
/// If the host refuses a descriptor or a handler.
pub fn catch() -> io::Result<UnixStream> {
    let (arrived, arrives) = UnixStream::pair()?;
    arrived.set_nonblocking(true)?;
    for signal in ENDING {
        pipe::register(signal, arrives.try_clone()?)?;
    }
    // A write beyond the file size limit is an error of the disk (EFBIG), and must not end the program.
    signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(arrived)
}
