//! Shows events as they arrive.

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

/// Writes events until a signal, their number, the time, the end of the reader or of the connection.
///
/// # Errors
///
/// The connection ends without a shutdown, or fewer events arrive than asked for.
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
    // Connected first: a server without accessors sends its events at once.
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

/// Connects to the selected events. They are passed on in the order of arrival.
fn connect(
    client: &Client,
    selection: &Selection,
) -> Result<(Vec<AnyEvent>, Receiver<Occurrence<RawEvent>>), Failure> {
    let (sender, receiver) = mpsc::channel();
    let connections = selection.connect(client, move |event| {
        // The receiver is gone when the watch ends.
        let _ = sender.send(event.clone());
    })?;
    Ok((connections, receiver))
}

/// Why a watch ended successfully.
enum Ending {
    Signal,
    Count,
    Time,
    /// The reader of the output is gone.
    Unread,
    /// The machine shut down, and the connection ended.
    Shutdown,
}

struct Watch<'a> {
    output: &'a Output,
    events: Receiver<Occurrence<RawEvent>>,
    /// How many events are left, if their number is given.
    left: Option<u64>,
    seen: u64,
    /// A shutdown was among the events.
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

    /// Writes the events received; true if none are left.
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

/// The form in which an event is written.
pub fn line(event: &Occurrence<RawEvent>) -> EventLine<'_> {
    EventLine {
        name: &event.data.name,
        data: &event.data.data,
        timestamp: (event.timestamp.seconds, event.timestamp.microseconds),
        initial: event.initial,
        lost: event.lost,
    }
}
