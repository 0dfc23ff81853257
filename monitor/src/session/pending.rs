//! Messages that are not answered yet, and the budget of a session's turn.

use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::value::RawValue;

use crate::budget::{Budget, Charge};
use crate::identity::Handle;
use crate::wire::codec::LINE_END;
use crate::wire::json_rpc::Message;
use crate::wire::request::{Band, Request};

/// The maximum number of requests that a session executes in one turn.
const REQUESTS_PER_TURN: usize = 64;

/// The bytes of answers after which a turn ends.
const BYTES_PER_TURN: usize = 256 * 1024;

/// The remaining budget of a session's turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

impl Turn {
    pub(super) const WHOLE: Self = Self {
        requests: REQUESTS_PER_TURN,
        bytes: BYTES_PER_TURN,
    };

    pub(super) fn is_over(self) -> bool {
        self.requests == 0 || self.bytes == 0
    }
}

/// A message that is not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    /// Its length in bytes.
    pub(super) bytes: usize,
    pub(super) requests: VecDeque<Request>,
    /// The answers so far of a batch, which are sent together.
    pub(super) batch: Option<Answers>,
    /// Its in-band request that the machine is executing.
    pub(super) in_flight: Option<u64>,
    /// Connections made by it, whose initial events follow its answer.
    pub(super) initial: Vec<Handle>,
}

/// The answers of a batch that is not complete.
#[derive(Debug)]
pub(super) struct Answers {
    text: Vec<u8>,
    charge: Charge,
}

impl Answers {
    fn new(budget: &Rc<Budget>) -> Self {
        Self {
            text: Vec::new(),
            charge: Charge::new(budget),
        }
    }

    /// Whether there is room for more of them.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.text.len() < limit && self.charge.allows(0)
    }

    pub(super) fn push(&mut self, answer: &[u8]) {
        let separator: &[u8] = if self.text.is_empty() { b"[" } else { b", " };
        self.text.extend_from_slice(separator);
        self.text.extend_from_slice(answer);
        self.charge.add(separator.len() + answer.len());
    }

    /// The batch as one line; none for a batch of notifications.
    pub(super) fn into_line(mut self) -> Option<Vec<u8>> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push(b']');
        self.text.extend_from_slice(LINE_END);
        Some(self.text)
    }
}

/// A request that the machine is executing.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: Option<Box<RawValue>>,
    pub(super) band: Band,
}

impl Pending {
    pub(super) fn new(message: Message, bytes: usize, budget: &Rc<Budget>) -> Self {
        let (requests, batch) = match message {
            Message::One(request) => (VecDeque::from([request]), None),
            Message::Batch(requests) => (requests.into(), Some(Answers::new(budget))),
        };
        Self {
            bytes,
            requests,
            batch,
            in_flight: None,
            initial: Vec::new(),
        }
    }
}
