//! Tells a server's orderly end from a lost connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libqmp::{AccessorArguments, AnyEvent, Error};

use crate::client::Client;
use crate::failure::Failure;

/// The event that a machine raises before it ends.
pub(super) const SHUTDOWN: &str = "SHUTDOWN";

/// A connection to the shutdown event, beside those that are watched.
#[derive(Debug)]
pub struct Orderly {
    was_announced: Arc<AtomicBool>,
    /// None if the server has no such event.
    events: Option<AnyEvent>,
}

impl Orderly {
    /// Connects.
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

    /// Whether a shutdown was announced: then the connection's end is not an error.
    pub fn was_announced(&self) -> bool {
        self.was_announced.load(Ordering::Relaxed)
    }

    /// Disconnects.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn put(self) -> Result<(), Failure> {
        self.events.map_or(Ok(()), |events| Ok(events.put()?))
    }
}
