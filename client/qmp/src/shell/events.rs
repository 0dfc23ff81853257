//! The thread that dispatches events.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use libqmp::{Error, Session};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Dispatches a session's events until it is dropped or the connection ends. Events received before that are shown.
#[derive(Debug)]
pub struct Dispatcher {
    /// Dropping it wakes the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts the thread. `show` receives what handlers send to `lines`; `ended` receives the error when the connection
    /// ends.
    ///
    /// # Errors
    ///
    /// The thread cannot be created.
    pub fn start(
        session: Session,
        lines: Receiver<String>,
        mut show: impl FnMut(String) + Send + 'static,
        ended: impl FnOnce(Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let dispatch = move || {
            let end = loop {
                let goes_on = wait(&session, &stopped);
                let dispatched = session.dispatch();
                lines.try_iter().for_each(&mut show);
                match dispatched {
                    Ok(_) if goes_on => {}
                    Ok(_) => return,
                    Err(error) => break error,
                }
            };
            ended(end);
        };
        let thread = thread::Builder::new().name("events".to_owned());
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.spawn(dispatch)?),
        })
    }
}

/// Waits for events to dispatch; false if there will be none.
fn wait(session: &Session, stopped: &UnixStream) -> bool {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(session.as_fd(), PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => return fds[1].revents().is_empty(),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has printed its message.
            let _ = thread.join();
        }
    }
}
