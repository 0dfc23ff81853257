//! Waiting for input while somebody reads what is written.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What there is to look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Which of the inputs can be read, or have ended.
    pub inputs: Vec<bool>,
    /// Whether nobody reads standard output any more.
    pub is_unread: bool,
}

/// Waits until an input can be read, nobody reads standard output any more, or the time is over.
///
/// # Errors
///
/// The system refuses it.
pub fn wait(inputs: &[BorrowedFd<'_>], within: Option<Duration>) -> io::Result<Ready> {
    let within = within.and_then(|within| Timespec::try_from(within).ok());
    let stdout = io::stdout();
    let mut fds: Vec<PollFd<'_>> = inputs
        .iter()
        .map(|input| PollFd::from_borrowed_fd(*input, PollFlags::IN))
        .collect();
    // Of a pipe or a terminal without its other end it is told unasked.
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
