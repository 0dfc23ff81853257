//! Requests that a fault delays or hangs. They are not in flight, and draining does not wait for
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::requests::Pending;
use crate::block::fault::judgement::Fate;
use crate::block::fault::record::Record;
use crate::block::model::errno::Errno;
use crate::block::model::request::Token;

/// The outcome of a released request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It is performed.
    Perform,
    /// It completes with success.
    Complete,
    /// It fails.
    Fail(Errno),
}

/// Selects hanging requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hanging {
    /// Those that this rule made hang.
    pub id: Option<String>,
    /// The one with this ordinal.
    pub ordinal: Option<u64>,
}

/// The parked requests.
#[derive(Default)]
pub(super) struct Parked {
    /// Delayed requests, each with the decision applied at its due time.
    delayed: BTreeMap<Token, (Pending, Fate)>,
    due: BTreeSet<(Instant, Token)>,
    /// Hanging requests.
    hanging: BTreeMap<Token, (Pending, Record)>,
}

impl Parked {
    pub(super) fn delay(&mut self, until: Instant, token: Token, pending: Pending, fate: Fate) {
        self.due.insert((until, token));
        self.delayed.insert(token, (pending, fate));
    }

    pub(super) fn hang(&mut self, token: Token, pending: Pending, record: Record) {
        self.hanging.insert(token, (pending, record));
    }

    /// Releases hanging requests: they become due. Returns their ordinals.
    pub(super) fn release(&mut self, which: &Hanging, how: Release, now: Instant) -> Vec<u64> {
        let is_meant = |record: &Record| {
            which.id.as_ref().is_none_or(|id| *id == record.id)
                && which
                    .ordinal
                    .is_none_or(|ordinal| ordinal == record.ordinal)
        };
        let hanging = std::mem::take(&mut self.hanging);
        let (released, hanging): (BTreeMap<_, _>, _) = hanging
            .into_iter()
            .partition(|(_, (_, record))| is_meant(record));
        self.hanging = hanging;
        let mut ordinals = Vec::new();
        for (token, (pending, record)) in released {
            let fate = match how {
                Release::Perform => Fate::Perform,
                Release::Complete => Fate::Drop,
                Release::Fail(errno) => Fate::Fail(errno),
            };
            self.delay(now, token, pending, fate);
            ordinals.push(record.ordinal);
        }
        ordinals
    }

    /// The earliest due time.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes a request that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Token, Pending, Fate)> {
        let (due, token) = *self.due.first()?;
        if due > now {
            return None;
        }
        self.due.pop_first();
        let (pending, fate) = self.delayed.remove(&token)?;
        Some((token, pending, fate))
    }

    /// The delayed requests, each with its decision and due time.
    pub(super) fn delayed(&self) -> impl Iterator<Item = (Token, &Pending, &Fate, Instant)> {
        self.due.iter().filter_map(|(due, token)| {
            let (pending, fate) = self.delayed.get(token)?;
            Some((*token, pending, fate, *due))
        })
    }

    /// The hanging requests.
    pub(super) fn hanging(&self) -> impl Iterator<Item = (Token, &Pending, &Record)> {
        let hanging = self.hanging.iter();
        hanging.map(|(token, (pending, record))| (*token, pending, record))
    }

    /// Removes all of them, in order of arrival.
    pub(super) fn drain(&mut self) -> BTreeMap<Token, Pending> {
        self.due.clear();
        let delayed = std::mem::take(&mut self.delayed).into_iter();
        let hanging = std::mem::take(&mut self.hanging).into_iter();
        let delayed = delayed.map(|(token, (pending, _))| (token, pending));
        let hanging = hanging.map(|(token, (pending, _))| (token, pending));
        delayed.chain(hanging).collect()
    }
}
