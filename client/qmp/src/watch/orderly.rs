//! Whether a server said that it is about to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libqmp::{AccessorArguments, AnyEvent, Error};

use crate::client::Client;
use crate::failure::Failure;

/// The event by which a machine says that it ends.
pub(super) const SHUTDOWN: &str = "SHUTDOWN";

/// Listens for the machine's shutdown, beside what is watched.
#[derive(Debug)]
pub struct Orderly {
    was_announced: Arc<AtomicBool>,
    /// None where the server has no such event.
    events: Option<AnyEvent>,
}

impl Orderly {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn listen(client: &Client) -> Result<Self, Failure> {
        let was_announced = Arc::new(AtomicBool::new(false));
        let events = match client
            .session()
            .get_event(SHUTDOWN, &AccessorArguments::default())
        {
            Ok(events) => Some(events),
            Err(error @ (Error::Closed { .. } | Error::TimedOut { .. })) => {
                return Err(error.into());
            }
            Err(_) => None,
        };
        if let Some(events) = &events {
            let announced = Arc::clone(&was_announced);
            events.connect(move |_| announced.store(true, Ordering::Relaxed))?;
        }
        Ok(Self {
            was_announced,
            events,
        })
    }

    /// Whether it was said that the machine shuts down: that the connection ends is no failure then.
    pub fn was_announced(&self) -> bool {
        self.was_announced.load(Ordering::Relaxed)
    }

    /// Listens no more.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn put(self) -> Result<(), Failure> {
        self.events.map_or(Ok(()), |events| Ok(events.put()?))
    }
}
