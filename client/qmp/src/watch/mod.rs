//! Events as they come.

mod orderly;
mod selection;
mod signals;

use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use crate::client::Client;
use crate::failure::Failure;
use crate::options::{ConnectionOptions, WatchOptions};
use crate::output::{self, EventLine, Output};
use crate::waiting;
use libqmp::{AnyEvent, Occurrence, RawEvent};

pub use orderly::Orderly;
pub use selection::Selection;
use signals::Signals;

/// Writes events until something ends it: a signal, their number, the time, who reads them, or the connection.
///
/// # Errors
///
/// The connection's end that no shutdown has announced, or fewer events than were to come.
pub fn run(
    options: &WatchOptions,
    connection: &ConnectionOptions,
    output: &Output,
) -> Result<(), Failure> {
    let selection = Selection::from_words(&options.words, options.initial)?;
    let deadline = connection
        .timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    let client = Client::connect(connection)?;
    let signals = Signals::catch()?;
    // What is to be shown first: a server without accessors says its events at once.
    let (connections, events) = connect(&client, &selection)?;
    let orderly = Orderly::listen(&client)?;
    let mut watch = Watch {
        output,
        events,
        left: options.count,
        seen: 0,
        has_shut_down: false,
    };
    let ended = watch.until_the_end(&client, &signals, deadline);
    let ended = match ended {
        Err(failure) if failure.is_end() && (orderly.was_announced() || watch.has_shut_down) => {
            Ok(Ending::Shutdown)
        }
        Err(failure) if failure.is_end() => Err(failure),
        ended => {
            for connection in connections {
                connection.put()?;
            }
            orderly.put()?;
            ended
        }
    };
    match (ended?, options.count, connection.timeout) {
        (Ending::Shutdown, Some(count), _) => Err(Failure::ShutDown {
            seen: watch.seen,
            count,
        }),
        (Ending::Time, Some(count), Some(within)) => Err(Failure::TooFew {
            seen: watch.seen,
            count,
            within,
        }),
        _ => Ok(()),
    }
}

/// Connects to what is selected. Events are handed on in the order in which they came.
fn connect(
    client: &Client,
    selection: &Selection,
) -> Result<(Vec<AnyEvent>, Receiver<Occurrence<RawEvent>>), Failure> {
    let (sender, receiver) = mpsc::channel();
    let connections = selection.connect(client, move |event| {
        // Whoever does not receive any more has left.
        let _ = sender.send(event.clone());
    })?;
    Ok((connections, receiver))
}

/// Why a watch has ended well.
enum Ending {
    Signal,
    Count,
    Time,
    /// Nobody reads any more.
    Unread,
    /// The machine shut down, and the server is gone.
    Shutdown,
}

struct Watch<'a> {
    output: &'a Output,
    events: Receiver<Occurrence<RawEvent>>,
    /// How many are still to come, if that is known.
    left: Option<u64>,
    seen: u64,
    /// A shutdown was among them.
    has_shut_down: bool,
}

impl Watch<'_> {
    fn until_the_end(
        &mut self,
        client: &Client,
        signals: &Signals,
        deadline: Option<Instant>,
    ) -> Result<Ending, Failure> {
        loop {
            let dispatched = client.session().dispatch();
            if self.write()? {
                return Ok(Ending::Count);
            }
            dispatched?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Ending::Time);
            }
            let fds = [client.session().as_fd(), signals.as_fd()];
            let ready = waiting::wait(&fds, left)?;
            if ready.inputs.get(1) == Some(&true) {
                return Ok(Ending::Signal);
            }
            if ready.is_unread {
                return Ok(Ending::Unread);
            }
        }
    }

    /// Writes what has come; true if no more is to come.
    fn write(&mut self) -> Result<bool, Failure> {
        for event in self.events.try_iter() {
            output::write(&self.output.event(&line(&event)))?;
            self.seen += 1;
            self.has_shut_down |= event.data.name == orderly::SHUTDOWN;
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// An event as it is written.
pub fn line(event: &Occurrence<RawEvent>) -> EventLine<'_> {
    EventLine {
        name: &event.data.name,
        data: &event.data.data,
        timestamp: (event.timestamp.seconds, event.timestamp.microseconds),
        initial: event.initial,
        lost: event.lost,
    }
}
