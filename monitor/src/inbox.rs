//! The only way into the monitor's thread: events and answers, in their order.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultvisor_schema::{CommandError, Event, MachineReturn, Reply};
use vmm_sys_util::eventfd::EventFd;

use crate::identity::Ticket;
use crate::wire::event::Timestamp;

/// An item for the monitor's thread.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event was raised.
    Raised(Event, Timestamp),
    /// Events like this one, which is the last of them, that did not fit.
    Dropped {
        last: Event,
        timestamp: Timestamp,
        count: u64,
    },
    /// The machine has answered.
    Answer(Ticket, Result<MachineReturn, CommandError>),
    /// The monitor ends, within this limit.
    Shutdown(Duration),
}

/// The queue and what wakes its reader.
#[derive(Debug)]
pub(crate) struct MonitorInbox {
    queue: Mutex<Backlog>,
    /// Signalled whenever the queue stops being empty.
    pub(crate) waker: EventFd,
    /// The maximum number of events. The guest can cause any number, and the monitor's thread may be behind.
    event_limit: usize,
}

#[derive(Debug, Default)]
struct Backlog {
    items: VecDeque<Item>,
    events: usize,
}

impl MonitorInbox {
    pub(crate) fn new(event_limit: usize) -> io::Result<Arc<Self>> {
        let waker = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
        Ok(Arc::new(Self {
            queue: Mutex::default(),
            waker,
            event_limit,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        // No operation under this lock leaves the queue inconsistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: Item) {
        self.put(|queue| queue.items.push_back(item));
    }

    /// Queues an event, from any thread. It never waits for a client.
    pub(crate) fn raise(&self, event: Event) {
        self.put(|queue| {
            // The timestamp is taken under the lock, so that time never runs backwards in the stream.
            let now = Timestamp::now();
            if queue.events < self.event_limit {
                queue.items.push_back(Item::Raised(event, now));
                queue.events += 1;
            } else {
                queue.drop_event(event, now);
            }
        });
    }

    /// The reply to the request with this ticket. Its answer is queued behind the events that were raised before.
    pub(crate) fn reply(self: &Arc<Self>, ticket: Ticket) -> Reply<MachineReturn> {
        let inbox = Arc::clone(self);
        Reply::new(move |result| inbox.push(Item::Answer(ticket, result)))
    }

    fn put(&self, change: impl FnOnce(&mut Backlog)) {
        let mut queue = self.lock();
        let was_empty = queue.items.is_empty();
        change(&mut queue);
        drop(queue);
        if was_empty {
            self.wake();
        }
    }

    /// Whether it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Takes the oldest items, up to a limit; the waker stays signalled if there are more.
    pub(crate) fn take(&self, limit: usize) -> VecDeque<Item> {
        // An eventfd that was not signalled is fine.
        let _ = self.waker.read();
        let mut queue = self.lock();
        let count = queue.items.len().min(limit);
        let rest = queue.items.split_off(count);
        let taken = std::mem::replace(&mut queue.items, rest);
        let is_event = |item: &&Item| matches!(item, Item::Raised(..));
        queue.events -= taken.iter().filter(is_event).count();
        let more = !queue.items.is_empty();
        drop(queue);
        if more {
            self.wake();
        }
        taken
    }

    fn wake(&self) {
        if let Err(error) = self.waker.write(1) {
            tracing::error!(%error, "cannot wake the monitor");
        }
    }
}

impl Backlog {
    /// Counts an event that does not fit, together with those like it in the same place.
    fn drop_event(&mut self, event: Event, now: Timestamp) {
        for item in self.items.iter_mut().rev() {
            match item {
                Item::Dropped {
                    last,
                    timestamp,
                    count,
                } if last.signal() == event.signal() && last.device() == event.device() => {
                    *count += 1;
                    *last = event;
                    *timestamp = now;
                    return;
                }
                Item::Raised(..) => break,
                _ => {}
            }
        }
        self.items.push_back(Item::Dropped {
            last: event,
            timestamp: now,
            count: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SessionId;

    fn names(inbox: &MonitorInbox) -> Vec<String> {
        let name = |item: &Item| match item {
            Item::Raised(event, _) => event.name().to_owned(),
            Item::Dropped { last, count, .. } => format!("{} lost {count}", last.name()),
            Item::Answer(..) => "answer".to_owned(),
            Item::Shutdown(_) => "shutdown".to_owned(),
        };
        inbox.take(1000).iter().map(name).collect()
    }

    #[test]
    fn events_without_room_are_counted_in_place() {
        let inbox = MonitorInbox::new(2).unwrap();
        for _ in 0..3 {
            inbox.raise(Event::Stop);
            inbox.raise(Event::Resume);
        }
        assert_eq!(
            names(&inbox),
            ["STOP", "RESUME", "STOP lost 2", "RESUME lost 2"]
        );
        inbox.raise(Event::Stop);
        assert_eq!(names(&inbox), ["STOP"]);
    }

    #[test]
    fn a_part_is_taken_and_the_rest_still_wakes() {
        let inbox = MonitorInbox::new(3).unwrap();
        for _ in 0..3 {
            inbox.raise(Event::Stop);
        }
        assert_eq!(inbox.take(2).len(), 2);
        assert!(!inbox.is_empty());
        // There is room again for what was taken.
        inbox.raise(Event::Resume);
        assert_eq!(inbox.waker.read().unwrap(), 1);
        assert_eq!(names(&inbox), ["STOP", "RESUME"]);
        assert!(inbox.waker.read().is_err());
    }

    #[test]
    fn a_reply_that_is_dropped_answers() {
        let inbox = MonitorInbox::new(2).unwrap();
        let ticket = Ticket {
            session: SessionId::for_tests(1),
            sequence: 7,
        };
        drop(inbox.reply(ticket));
        let items = inbox.take(1000);
        let Some(Item::Answer(answered, Err(error))) = items.front() else {
            panic!("{items:?}")
        };
        assert_eq!(*answered, ticket);
        assert_eq!(error.desc, "The machine gave no answer");
    }
}
