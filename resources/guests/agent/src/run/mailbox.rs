//! What a run's thread is told by other threads. An eventfd wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Instant;

use faultvisor_agent_protocol::run::Ending;
use rustix::event::{EventfdFlags, eventfd};

use super::client::{Client, Received};
use crate::agent::lock;

/// The mailbox of a run's thread.
#[derive(Debug)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct Mail {
    client: Option<(Client, Received)>,
    ending: Option<(Ending, Instant)>,
    /// When it was last asked to be killed.
    kill: Option<Instant>,
    /// It has ended, and no client knows.
    abandoned: bool,
    forget: bool,
    closed: bool,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            mail: Mutex::default(),
            wake,
        })
    }

    /// Hands a client over; gives it back if the thread takes none any more.
    pub fn attach(&self, client: Client, received: Received) -> Result<(), Client> {
        let mut mail = lock(&self.mail);
        if mail.closed || mail.forget {
            return Err(client);
        }
        mail.client = Some((client, received));
        mail.abandoned = false;
        self.wake();
        Ok(())
    }

    /// The program has ended.
    pub fn ended(&self, ending: Ending) {
        lock(&self.mail).ending = Some((ending, Instant::now()));
        self.wake();
    }

    /// The program is killed by request.
    pub fn killed(&self) {
        lock(&self.mail).kill = Some(Instant::now());
        self.wake();
    }

    /// Whether the program has ended, and no client knows or is there to be told.
    pub fn is_abandoned(&self) -> bool {
        let mail = lock(&self.mail);
        mail.abandoned && !mail.forget
    }

    /// Has the thread end.
    pub fn forget(&self) {
        lock(&self.mail).forget = true;
        self.wake();
    }

    fn wake(&self) {
        // It is readable already if this fails.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Of the thread: a client that was handed over.
    pub fn take_client(&self) -> Option<(Client, Received)> {
        lock(&self.mail).client.take()
    }

    /// Of the thread: how and when the program has ended.
    pub fn ending(&self) -> Option<(Ending, Instant)> {
        lock(&self.mail).ending
    }

    /// Of the thread: when the program was killed by request, told once.
    pub fn take_kill(&self) -> Option<Instant> {
        lock(&self.mail).kill.take()
    }

    /// Of the thread: whether it shall end.
    pub fn is_forgotten(&self) -> bool {
        lock(&self.mail).forget
    }

    /// Of the thread: the program has ended, and there is no client.
    pub fn abandon(&self) {
        let mut mail = lock(&self.mail);
        mail.abandoned = mail.client.is_none();
    }

    /// Of the thread: takes no client any more. One that was handed over meanwhile is returned.
    pub fn close(&self) -> Option<Client> {
        let mut mail = lock(&self.mail);
        mail.closed = true;
        mail.abandoned = false;
        mail.client.take().map(|(client, _)| client)
    }

    /// Of the thread: begins to wait for what comes from now on.
    pub fn clear(&self) {
        // It may not be readable.
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
