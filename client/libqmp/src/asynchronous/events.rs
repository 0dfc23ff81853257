//! Events as streams.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use faultvisor_schema::AccessorArguments;
use futures_core::Stream;

use super::{Core, Session};
use crate::connecting::{Connecting, Instruction, refused};
use crate::core::lock;
use crate::message::Band;
use crate::routes::ObjectId;
use crate::session::decode;
use crate::{Error, EventData, Occurrence, RawEvent};

/// A connection to a signal, like [`crate::Events`]: while this lives it receives the signal's events, complete and in
/// order. It is a stream, which ends after the error that is the connection's end.
#[must_use = "dropping it disconnects"]
pub struct Events<T> {
    session: Session,
    object: ObjectId,
    name: String,
    is_over: bool,
    _of: PhantomData<fn() -> T>,
}

/// Every event of a server, or all of one name, as they are on the wire.
pub type AnyEvent = Events<RawEvent>;

impl<T> Events<T> {
    pub(super) async fn connect_to(
        session: &Session,
        name: &str,
        arguments: &AccessorArguments,
    ) -> Result<Self, Error> {
        let connecting = Connecting::to(name, arguments, session.has_accessors());
        Self::perform(session, connecting, name).await
    }

    pub(super) async fn connect_to_all(session: &Session) -> Result<Self, Error> {
        let connecting = Connecting::to_all(session.has_accessors());
        Self::perform(session, connecting, "event").await
    }

    async fn perform(
        session: &Session,
        mut connecting: Connecting,
        name: &str,
    ) -> Result<Self, Error> {
        let core = &session.core;
        let filter = connecting.filter();
        let events = Self {
            session: session.clone(),
            object: core.shared.with_routes(|routes| routes.object(filter)),
            name: name.to_owned(),
            is_over: false,
            _of: PhantomData,
        };
        // On failure or cancellation the object is dropped, and puts its handles back.
        loop {
            match connecting.next(core.known_events().as_ref())? {
                Instruction::Done => return Ok(events),
                Instruction::Ask { command } => {
                    let answer = session.execute_raw(command, None).await?;
                    if let Some(names) = connecting.told(answer) {
                        *lock(&core.known_events) = Some(names);
                    }
                }
                Instruction::Connect { command, arguments } => {
                    let object = Some(events.object);
                    let answer = session.execute(Band::In, &command, Some(&arguments), object);
                    let answer = answer.await.map_err(|error| refused(name, error))?;
                    decode::<i64>(&command, &answer)?;
                }
            }
        }
    }
}

impl<T: EventData> Events<T> {
    /// Receives the next event.
    ///
    /// # Errors
    ///
    /// The event does not match its type; the next one may. Or the connection has ended, and no event is left.
    pub async fn recv(&self) -> Result<Occurrence<T>, Error> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Receives the next event within a limit.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv), and [`Error::TimedOut`].
    pub async fn recv_timeout(&self, within: Duration) -> Result<Occurrence<T>, Error> {
        let received = tokio::time::timeout(within, self.recv()).await;
        received.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                awaited: self.name.clone(),
                within,
            })
        })
    }

    /// Disconnects, as dropping does, and waits for the server's answer.
    ///
    /// # Errors
    ///
    /// The connection failed. The object is gone all the same.
    pub async fn put(self) -> Result<(), Error> {
        let mut left = Left {
            core: &self.session.core,
            tags: self.end(),
        };
        while let Some(tag) = left.tags.pop() {
            let arguments = serde_json::json!({ "tag": tag });
            self.session
                .execute_raw("put-event", Some(arguments))
                .await?;
        }
        Ok(())
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Occurrence<T>, Error>> {
        let shared = &self.session.core.shared;
        let event = shared.with_routes(|routes| routes.event(self.object, context.waker()));
        match event {
            None => Poll::Pending,
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(raw)) => {
                let lost = raw.lost;
                let read = Occurrence::read(raw);
                if read.is_err() && lost > 0 {
                    // The error does not count these.
                    shared.with_routes(|routes| routes.lose(self.object, lost));
                }
                Poll::Ready(read)
            }
        }
    }
}

impl<T> Events<T> {
    fn end(&self) -> Vec<i64> {
        let shared = &self.session.core.shared;
        shared.with_routes(|routes| routes.remove(self.object))
    }
}

impl<T: EventData> Stream for Events<T> {
    type Item = Result<Occurrence<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = self.poll(context);
        self.is_over = matches!(next, Poll::Ready(Err(Error::Closed { .. })));
        next.map(Some)
    }
}

/// Handles that are put one by one; all that are left at once if one fails, or if the future is dropped.
struct Left<'a> {
    core: &'a Core,
    tags: Vec<i64>,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.tags.iter().for_each(|tag| self.core.put(*tag));
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        for tag in self.end() {
            self.session.core.put(tag);
        }
    }
}

impl<T> fmt::Debug for Events<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Events")
            .field("of", &self.name)
            .finish_non_exhaustive()
    }
}
