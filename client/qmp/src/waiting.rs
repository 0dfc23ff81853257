//! Waits for input, and for the end of the output's reader.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a wait has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// For each input, whether it is readable or has ended.
    pub inputs: Vec<bool>,
    /// Whether the reader of standard output is gone.
    pub is_unread: bool,
}

/// Waits until an input is readable, the reader of standard output is gone, or the time is over.
///
/// # Errors
///
/// A system call fails.
pub fn wait(inputs: &[BorrowedFd<'_>], within: Option<Duration>) -> io::Result<Ready> {
    let within = within.and_then(|within| Timespec::try_from(within).ok());
    let stdout = io::stdout();
    let mut fds: Vec<PollFd<'_>> = inputs
        .iter()
        .map(|input| PollFd::from_borrowed_fd(*input, PollFlags::IN))
        .collect();
    // `poll` reports a pipe's or a terminal's closed other end without being asked.
    fds.push(PollFd::new(&stdout, PollFlags::empty()));
    match poll(&mut fds, within.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => fds.iter_mut().for_each(PollFd::clear_revents),
        Err(error) => return Err(error.into()),
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let is_unread = ready.next_back() == Some(true);
    Ok(Ready {
        inputs: ready.collect(),
        is_unread,
    })
}
