//! What all connections share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::hello::Hello;
use rustix::rand::GetRandomFlags;

use crate::processes::Processes;
use crate::run::registry::Runs;

/// The most connections at once.
const CONNECTIONS: usize = 256;

/// The agent.
#[derive(Debug)]
pub struct Agent {
    /// What it says of itself.
    pub hello: Hello,
    /// Identifies this start of it.
    pub boot: String,
    /// Its child processes.
    pub processes: Processes,
    /// The runs that are not forgotten.
    pub runs: Runs,
    connections: Arc<AtomicUsize>,
}

impl Agent {
    /// Prepares an agent.
    ///
    /// # Errors
    ///
    /// The system refuses what it needs; one line.
    pub fn start() -> Result<Arc<Self>, String> {
        let boot = boot().map_err(|error| format!("no random numbers: {error}"))?;
        let processes = Processes::start().map_err(|error| format!("cannot reap: {error}"))?;
        Ok(Arc::new(Self {
            hello: Hello {
                boot: Some(boot.clone()),
                ..Hello::of(software())
            },
            boot,
            processes,
            runs: Runs::default(),
            connections: Arc::default(),
        }))
    }

    /// Takes one of the bounded number of connections.
    ///
    /// # Errors
    ///
    /// They are all taken.
    pub fn slot(&self) -> Result<Slot, Failure> {
        let slot = Slot(Arc::clone(&self.connections));
        if self.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            let message = format!("the agent has {CONNECTIONS} connections already");
            return Err(Failure::new(FailureKind::Busy, message));
        }
        Ok(slot)
    }

    /// Whether it is the guest's first process.
    pub fn is_init(&self) -> bool {
        std::process::id() == 1
    }
}

/// One of the bounded number of connections, until it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The program and its version.
pub fn software() -> String {
    concat!("faultvisor-agent ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// Locks, whatever a thread that held it has come to.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn boot() -> rustix::io::Result<String> {
    use std::fmt::Write;
    let mut bytes = [0_u8; 16];
    // Early in a boot the pool may not be ready; this identifies, and is no secret.
    let flags = GetRandomFlags::INSECURE;
    if rustix::rand::getrandom(&mut bytes, flags).is_err() {
        rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())?;
    }
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
