//! Routing of a server's messages: each answer to its call, each event to its objects.
//!
//! Nothing here reads, writes or waits: the caller passes each message, and wakes the wakers that it is given.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use serde_json::Value;

use crate::message::{Message, RawMessage};
use crate::said::Said;
use crate::{Error, Timestamp, Unread};

/// The number of events that an object queues. Further ones are counted, and reported as lost.
pub(crate) const LONGEST_QUEUE: usize = 65_536;

/// The length of their lines together. A slow server never reaches it.
pub(crate) const LARGEST_QUEUE: usize = 64 << 20;

/// The event that reports lost events.
const EVENTS_LOST: &str = "EVENTS_LOST";

/// A call, until its answer is taken.
pub(crate) type CallId = u64;

/// An event object.
pub(crate) type ObjectId = u64;

/// Receives an object's events one by one.
pub(crate) type Deliver = Arc<dyn Fn(RawOccurrence) + Send + Sync>;

/// An event in an object's queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawOccurrence {
    pub(crate) event: Unread,
    pub(crate) timestamp: Timestamp,
    pub(crate) initial: bool,
    pub(crate) lost: u64,
    /// The length of its line.
    pub(crate) length: usize,
}

/// What an object receives without accessors, or beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Only events with one of its handles.
    Handles,
    /// Events without a handle, of a name and perhaps of a device.
    Default {
        name: String,
        device: Option<String>,
    },
    /// Every event without a handle of another object.
    Everything,
}

/// A message that has to be sent in response to one received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// No object holds this handle any more.
    Put(i64),
}

#[derive(Debug)]
enum Call {
    /// `accessor`: its answer is a handle of that object.
    Waiting {
        waker: Option<Waker>,
        accessor: Option<ObjectId>,
    },
    Answered(Result<Said, Value>),
    /// No caller waits any more; `accessor`: its answer has to be put.
    Abandoned {
        accessor: bool,
    },
}

struct Object {
    filter: Filter,
    tags: Vec<i64>,
    queue: VecDeque<RawOccurrence>,
    /// The length of the queued lines.
    queued: usize,
    /// The number of events lost behind the last queued one.
    lost: u64,
    /// The waker for its next event.
    wakers: Vec<Waker>,
    /// Its handlers, which receive its events instead of callers.
    deliver: Option<Deliver>,
}

/// All calls and objects of a session.
#[derive(Default)]
pub(crate) struct Routes {
    calls: HashMap<CallId, Call>,
    objects: BTreeMap<ObjectId, Object>,
    by_tag: HashMap<i64, ObjectId>,
    /// The objects whose events have to be dispatched, one entry for each event, in the events' order.
    due: VecDeque<ObjectId>,
    /// The waker of the thread that dispatches.
    due_waker: Option<Waker>,
    next: u64,
    ended: Option<Error>,
    /// Wakers to be woken once the routes are unlocked.
    woken: Vec<Waker>,
}

impl Routes {
    /// Begins a call.
    pub(crate) fn call(&mut self, accessor: Option<ObjectId>) -> Result<CallId, Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let id = self.number();
        self.calls.insert(
            id,
            Call::Waiting {
                waker: None,
                accessor,
            },
        );
        Ok(id)
    }

    /// Begins a call whose answer is not wanted.
    pub(crate) fn call_and_forget(&mut self) -> Option<CallId> {
        if self.ended.is_some() {
            return None;
        }
        let id = self.number();
        self.calls.insert(id, Call::Abandoned { accessor: false });
        Some(id)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes a call's answer, or registers `waker` for it.
    pub(crate) fn answer(
        &mut self,
        id: CallId,
        new_waker: &Waker,
    ) -> Option<Result<Result<Said, Value>, Error>> {
        match self.calls.get_mut(&id) {
            Some(Call::Waiting { waker, .. }) => {
                if let Some(error) = &self.ended {
                    let error = error.clone();
                    self.calls.remove(&id);
                    return Some(Err(error));
                }
                *waker = Some(new_waker.clone());
                None
            }
            Some(Call::Answered(_)) => match self.calls.remove(&id) {
                Some(Call::Answered(result)) => Some(Ok(result)),
                _ => None,
            },
            Some(Call::Abandoned { .. }) | None => None,
        }
    }

    /// Abandons a call. What it has caused is undone.
    pub(crate) fn abandon(&mut self, id: CallId) {
        if let Some(Call::Waiting { accessor, .. }) = self.calls.get(&id) {
            let accessor = accessor.is_some();
            self.calls.insert(id, Call::Abandoned { accessor });
        } else {
            // The handle of an answered accessor is its object's, which puts it.
            self.calls.remove(&id);
        }
    }

    /// Makes an event object.
    pub(crate) fn object(&mut self, filter: Filter) -> ObjectId {
        let id = self.number();
        self.objects.insert(
            id,
            Object {
                filter,
                tags: Vec::new(),
                queue: VecDeque::new(),
                queued: 0,
                lost: 0,
                wakers: Vec::new(),
                deliver: None,
            },
        );
        id
    }

    /// Ends an object: nothing is routed to it any more. Returns its handles.
    pub(crate) fn remove(&mut self, id: ObjectId) -> Vec<i64> {
        let Some(object) = self.objects.remove(&id) else {
            return Vec::new();
        };
        for tag in &object.tags {
            // A handle that a server returns twice belongs to the last object that got it.
            if self.by_tag.get(tag) == Some(&id) {
                self.by_tag.remove(tag);
            }
        }
        for call in self.calls.values_mut() {
            if matches!(call, Call::Waiting { accessor: Some(of), .. } if *of == id) {
                *call = Call::Abandoned { accessor: true };
            }
        }
        self.woken.extend(object.wakers);
        object.tags
    }

    /// Takes an object's next event, or registers `waker` for it. At the connection's end, returns that error.
    pub(crate) fn event(
        &mut self,
        id: ObjectId,
        waker: &Waker,
    ) -> Option<Result<RawOccurrence, Error>> {
        let object = self.objects.get_mut(&id)?;
        if object.deliver.is_none()
            && let Some(occurrence) = object.next()
        {
            return Some(Ok(occurrence));
        }
        if let Some(error) = &self.ended {
            return Some(Err(error.clone()));
        }
        if !object.wakers.iter().any(|known| known.will_wake(waker)) {
            object.wakers.push(waker.clone());
        }
        None
    }

    /// Removes an object's waker.
    pub(crate) fn leave(&mut self, id: ObjectId, waker: &Waker) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.wakers.retain(|known| !known.will_wake(waker));
        }
    }

    /// Adds to the number of lost events that an object's next event reports.
    pub(crate) fn lose(&mut self, id: ObjectId, count: u64) {
        if let Some(object) = self.objects.get_mut(&id) {
            let next = object.queue.front_mut();
            let lost = next.map_or(&mut object.lost, |next| &mut next.lost);
            *lost = lost.saturating_add(count);
        }
    }

    /// Starts to dispatch an object's events, beginning with the queued ones; or stops.
    pub(crate) fn deliver(&mut self, id: ObjectId, deliver: Option<Deliver>) {
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        let waiting = object.queue.len();
        let was_delivered = object.deliver.is_some();
        object.deliver = deliver;
        match (&object.deliver, was_delivered) {
            (Some(_), false) => {
                self.due.extend(std::iter::repeat_n(id, waiting));
                self.wake_for_due();
            }
            (None, true) => {
                self.due.retain(|due| *due != id);
                self.woken.append(&mut object.wakers);
            }
            _ => {}
        }
    }

    /// Takes the next event to be dispatched, with its handlers.
    pub(crate) fn due(&mut self) -> Option<(Deliver, RawOccurrence)> {
        while let Some(id) = self.due.pop_front() {
            let Some(object) = self.objects.get_mut(&id) else {
                continue;
            };
            if let Some(deliver) = object.deliver.clone()
                && let Some(occurrence) = object.next()
            {
                return Some((deliver, occurrence));
            }
        }
        None
    }

    /// An upper bound of the events to be dispatched.
    pub(crate) fn due_count(&self) -> usize {
        self.due.len()
    }

    /// Registers `waker` for events to be dispatched, and for the end.
    pub(crate) fn on_due(&mut self, waker: &Waker) {
        self.due_waker = Some(waker.clone());
    }

    fn wake_for_due(&mut self) {
        if !self.due.is_empty()
            && let Some(waker) = &self.due_waker
            // Once for all that arrived together.
            && !self.woken.iter().any(|woken| woken.will_wake(waker))
        {
            self.woken.push(waker.clone());
        }
    }

    /// Routes a message.
    pub(crate) fn receive(&mut self, message: Message) -> Option<Consequence> {
        match message {
            Message::Answer { id, result } => {
                let id = id.or_else(|| result.as_ref().err().and(self.oldest()))?;
                self.receive_answer(id, result)
            }
            Message::Event(message) => {
                self.receive_event(message);
                self.wake_for_due();
                None
            }
        }
    }

    /// The oldest call: a server refuses what it could not read without an ID, and in its turn.
    fn oldest(&self) -> Option<CallId> {
        let waiting = |(_, call): &(&CallId, &Call)| matches!(call, Call::Waiting { .. });
        self.calls.iter().filter(waiting).map(|(id, _)| *id).min()
    }

    fn receive_answer(&mut self, id: CallId, result: Result<Said, Value>) -> Option<Consequence> {
        match self.calls.get_mut(&id)? {
            Call::Waiting { waker, accessor } => {
                let tag = result.as_ref().ok().and_then(handle);
                if let Some((id, tag)) = accessor.zip(tag)
                    && let Some(object) = self.objects.get_mut(&id)
                {
                    object.tags.push(tag);
                    self.by_tag.insert(tag, id);
                }
                let waker = waker.take();
                self.calls.insert(id, Call::Answered(result));
                self.woken.extend(waker);
                None
            }
            Call::Abandoned { accessor } => {
                let returned = result.as_ref().ok().filter(|_| *accessor);
                let tag = returned.and_then(handle);
                self.calls.remove(&id);
                tag.map(Consequence::Put)
            }
            // An ID is answered once; a second answer is ignored.
            Call::Answered(_) => None,
        }
    }

    fn receive_event(&mut self, message: RawMessage) {
        let of: Vec<ObjectId> = match message.tag {
            Some(tag) => self.by_tag.get(&tag).copied().into_iter().collect(),
            None => {
                let hears = |(_, object): &(&ObjectId, &Object)| object.hears(&message);
                let objects = self.objects.iter().filter(hears);
                objects.map(|(id, _)| *id).collect()
            }
        };
        let Some((last, others)) = of.split_last() else {
            return;
        };
        if let Some(count) = lost(&message) {
            for id in of {
                if let Some(object) = self.objects.get_mut(&id) {
                    object.lost = object.lost.saturating_add(count);
                }
            }
            return;
        }
        let occurrence = RawOccurrence::from(message);
        for id in others {
            self.queue(*id, occurrence.clone());
        }
        self.queue(*last, occurrence);
    }

    fn queue(&mut self, id: ObjectId, mut occurrence: RawOccurrence) {
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        let is_full = object.queued.saturating_add(occurrence.length) > LARGEST_QUEUE;
        // A single event that exceeds the limit is still queued.
        if object.queue.len() >= LONGEST_QUEUE || is_full && !object.queue.is_empty() {
            object.lost = object.lost.saturating_add(1);
            return;
        }
        occurrence.lost = std::mem::take(&mut object.lost);
        object.queued += occurrence.length;
        object.queue.push_back(occurrence);
        self.woken.append(&mut object.wakers);
        if object.deliver.is_some() {
            self.due.push_back(id);
        }
    }

    /// Ends everything: present and future callers receive the reason.
    pub(crate) fn end(&mut self, error: Error) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(error);
        self.calls
            .retain(|_, call| !matches!(call, Call::Abandoned { .. }));
        for call in self.calls.values_mut() {
            if let Call::Waiting { waker, .. } = call
                && let Some(waker) = waker.take()
            {
                self.woken.push(waker);
            }
        }
        for object in self.objects.values_mut() {
            self.woken.append(&mut object.wakers);
        }
        self.woken.extend(self.due_waker.take());
    }

    /// Wakers to be woken after the unlock.
    pub(crate) fn woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// The reason for the end, if there was one.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }
}

impl Object {
    /// Takes its next event.
    fn next(&mut self) -> Option<RawOccurrence> {
        let next = self.queue.pop_front()?;
        self.queued -= next.length;
        Some(next)
    }

    /// Whether it receives an event without a handle.
    fn hears(&self, message: &RawMessage) -> bool {
        match &self.filter {
            Filter::Handles => false,
            Filter::Everything => true,
            // An event with a name of the client's own belongs to that connection.
            Filter::Default { .. } if message.id.is_some() => false,
            Filter::Default { name, device } => {
                let of = |member: &str| message.data.member(member);
                let is_of_name = match message.name.as_str() {
                    EVENTS_LOST => of("event").is_some_and(|event| event == *name),
                    event => event == *name,
                };
                let is_of_device = |device: &str| of("device").is_some_and(|of| of == *device);
                is_of_name && device.as_deref().is_none_or(is_of_device)
            }
        }
    }
}

impl From<RawMessage> for RawOccurrence {
    fn from(message: RawMessage) -> Self {
        Self {
            event: Unread {
                name: message.name,
                data: message.data,
                id: message.id,
            },
            timestamp: message.timestamp,
            initial: message.initial,
            lost: 0,
            length: message.length,
        }
    }
}

/// The handle that an accessor returned.
fn handle(said: &Said) -> Option<i64> {
    said.read().ok()
}

/// The number of events that a message reports as lost.
fn lost(message: &RawMessage) -> Option<u64> {
    let count = || {
        message
            .data
            .member("count")
            .and_then(|count| count.as_u64())
    };
    (message.name == EVENTS_LOST).then(|| count().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::own_waker;

    #[test]
    fn a_wait_that_times_out_leaves_no_waker() {
        let mut routes = Routes::default();
        let object = routes.object(Filter::Everything);
        for _ in 0..3 {
            assert!(routes.event(object, &own_waker()).is_none());
        }
        assert_eq!(routes.objects[&object].wakers.len(), 1);
        routes.leave(object, &own_waker());
        assert!(routes.objects[&object].wakers.is_empty());
    }
}
