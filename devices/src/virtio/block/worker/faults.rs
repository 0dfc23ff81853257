//! Fault decisions on requests, between the limits and the backend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use super::parked::{Hanging, Parked, Release};
use super::power::Power;
use super::requests::Pending;
use crate::block::fault::alterations::Alterations;
use crate::block::fault::engine::{Engine, EngineView};
use crate::block::fault::judgement::{Fate, Judgement};
use crate::block::fault::record::Record;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Completion, Token};
use crate::timer::Timer;

/// A disk's fault engine, and the requests that it parks or ends.
pub(super) struct Faults {
    pub engine: Engine,
    view: Arc<EngineView>,
    alterations: Alterations,
    pub parked: Parked,
    pub timer: Timer,
    /// Completions without the backend, of requests in flight.
    ended: Vec<Completion>,
    pub power: Power,
}

impl Faults {
    pub(super) fn new(device: &str, view: Arc<EngineView>) -> std::io::Result<Self> {
        Ok(Self {
            engine: Engine::new(device, Arc::clone(&view)),
            view,
            alterations: Alterations::default(),
            parked: Parked::default(),
            timer: Timer::new()?,
            ended: Vec::new(),
            power: Power::default(),
        })
    }

    /// Removes all parked requests, in order of arrival.
    pub(super) fn drain_parked(&mut self) -> BTreeMap<Token, Pending> {
        let parked = self.parked.drain();
        if !parked.is_empty() {
            self.view.nothing_hangs();
        }
        parked
    }

    /// Hangs a request, and publishes it.
    pub(super) fn hang(&mut self, token: Token, pending: Pending, record: Record) {
        self.view.hangs(&record);
        self.parked.hang(token, pending, record);
    }

    /// Drops unanswered requests, which will never be answered.
    pub(super) fn forget(&mut self) {
        drop(self.drain_parked());
        self.power.forget();
    }
}

impl Worker {
    /// Has the fault engine decide on a request.
    pub(super) fn judge(&mut self, token: Token, attempt: u32, pending: Pending) {
        // The engine and its log count from 1.
        let number = token.0 + 1;
        let engine = &mut self.faults.engine;
        let judgement = engine.judge(number, attempt, &pending.request);
        let Judgement {
            records,
            delay,
            fate,
        } = judgement;
        let tell = |worker: &Self| {
            let observer = &worker.parts.observer;
            records
                .iter()
                .for_each(|record| observer.fault_injected(record));
        };
        if !delay.is_zero() {
            tell(self);
            // Counted from now: the request may have been throttled since its arrival.
            let now = Instant::now();
            // The time is not representable.
            let until = now.checked_add(delay).unwrap_or(now);
            self.faults.parked.delay(until, token, pending, fate);
        } else if matches!(fate, Fate::Hang(_)) {
            // Before the notification: a subscriber that lists hanging requests finds it.
            self.act(token, pending, fate);
            tell(self);
        } else {
            if matches!(fate, Fate::Stop) {
                // Before the notification: a subscriber's `cont` refers to the stop that follows.
                self.parts.io_status.set_stop(self.run);
            }
            tell(self);
            self.act(token, pending, fate);
        }
    }

    /// Applies the fault decision to a request.
    fn act(&mut self, token: Token, mut pending: Pending, fate: Fate) {
        match fate {
            Fate::Perform => self.start(token, pending),
            Fate::Alter(alteration) => {
                self.check_threshold(&pending.request);
                match self.translate_addresses(&pending.request) {
                    Ok(request) => {
                        self.in_flight.insert(token, pending);
                        let backend = &mut *self.parts.backend;
                        let alterations = &mut self.faults.alterations;
                        let end = alterations.submit(backend, token, request, alteration);
                        self.faults.ended.extend(end);
                    }
                    Err(errno) => self.end(token, pending, Err(errno)),
                }
            }
            Fate::Fail(errno) => self.end(token, pending, Err(errno)),
            Fate::Drop => self.end(token, pending, Ok(())),
            Fate::Hang(record) => {
                self.faults.hang(token, pending, record);
            }
            Fate::Stop => {
                pending.is_judged = true;
                self.held.insert(token, pending);
                self.halt();
                self.parts.observer.reached_stop(self.run);
            }
            Fate::PowerCut(cut, then) => {
                self.faults.power.cut_off(token, pending);
                self.cut_power(cut, Some(then));
            }
        }
    }

    /// Ends a request without the backend.
    pub(super) fn end(&mut self, token: Token, pending: Pending, result: Result<(), Errno>) {
        self.in_flight.insert(token, pending);
        self.faults.ended.push(Completion { token, result });
    }

    /// Completes requests that ended without the backend.
    pub(super) fn complete_ended(&mut self) {
        while !self.faults.ended.is_empty() {
            let ended = std::mem::take(&mut self.faults.ended);
            self.complete(ended);
        }
    }

    /// Maps the backend's completions to those of requests.
    pub(super) fn translate(&mut self, completions: Vec<Completion>) -> Vec<Completion> {
        self.faults.alterations.translate(completions)
    }

    /// Continues requests whose delay has passed.
    pub(super) fn unpark(&mut self) {
        let now = Instant::now();
        let mut any = false;
        while self.may_submit()
            && let Some((token, pending, fate)) = self.faults.parked.pop(now)
        {
            any = true;
            if self.is_on_the_disk(&pending.request) {
                self.act(token, pending, fate);
            } else {
                self.end(token, pending, Err(Errno::EIO));
            }
        }
        if any {
            self.parts.backend.flush_submissions();
            self.complete_ended();
        }
    }

    /// Releases hanging requests, and returns their number.
    pub(super) fn release_hanging(&mut self, which: &Hanging, how: Release) -> u64 {
        let ordinals = self.faults.parked.release(which, how, Instant::now());
        self.faults.view.hang_no_more(&ordinals);
        self.unpark();
        ordinals.len() as u64
    }

    /// Sets the timer for the next delayed request.
    pub(super) fn set_fault_timer(&mut self) {
        let due = if self.may_submit() {
            self.faults.parked.due()
        } else {
            None
        };
        if let Err(error) = self.faults.timer.set(due) {
            tracing::error!(%error, "disk '{}'", self.parts.configuration.id);
        }
    }
}
