//! The path of a request through the worker: from its ring to the backend, and back.

use std::sync::Arc;
use std::time::Instant;

use super::Worker;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{
    Completion, Durability, Operation, Request, SECTOR_SIZE, Token,
};
use crate::block::model::segment::mark_written;
use crate::block::policy::error_policy::ErrorAction;
use crate::block::policy::statistics::Kind;
use crate::virtio::block::limiter::Demand;
use crate::virtio::block::request::{self, Answer, Broken, Parsed, Status};
use crate::virtio::block::space::Feature;
use crate::virtio::block::{DiskConfiguration, ErrorKind, IoError};
use crate::virtio::queues::Queues;

/// A request that the guest waits for.
pub(super) struct Pending {
    pub request: Request,
    /// When it was last due for submission, before any throttling.
    pub submitted: Instant,
    pub answer: Answer,
    /// Earlier attempts to perform it.
    pub attempt: u32,
    /// The fault engine has decided on it.
    pub is_judged: bool,
}

/// Minimum number of requests in a batch. The host begins with the first ones while the device takes
/// the next.
const FIRST_BATCH: u16 = 4;

/// A batch for a host that completes requests during submission, as from its page cache: the driver
/// handles the first while the host performs the next.
const SMALL_BATCH: Batch = Batch {
    requests: 8,
    bytes: 256 << 10,
};

/// The limits of one submission.
#[derive(Debug, Clone, Copy)]
struct Batch {
    requests: u16,
    bytes: u64,
}

/// Why the device stops draining a queue.
enum Look {
    /// It is empty, and the driver kicks on the next chain.
    Empty,
    /// The batch is full.
    Later,
}

impl Worker {
    /// Takes the available chains of a queue, at most the queue's size at a time, so that a driver
    /// cannot starve the thread's other events.
    pub(super) fn serve(&mut self, queue: usize) {
        let Some(mut left) = self.ring_size(queue) else {
            return;
        };
        while self.running && self.resizes.is_empty() {
            let Some(mut active) = self.active.take() else {
                return;
            };
            let mut batch = self.next_batch();
            batch.requests = batch.requests.min(left);
            let looked = self.take_requests(&mut active, queue, &mut batch, &mut left);
            // Also when the queue is broken: requests taken before are performed.
            self.parts.backend.flush_submissions();
            let is_later = matches!(looked, Ok(Look::Later));
            self.finish(active, looked.map(|_| ()));
            self.complete_ended();
            let completions = self.parts.backend.poll();
            self.host_is_immediate = !completions.is_empty();
            if self.host_is_immediate {
                self.answered_at_once = true;
                let completions = self.translate(completions);
                self.complete(completions);
            }
            if !is_later {
                return;
            }
            if left == 0 {
                // Continue after the thread's other events.
                if let Some(kick) = self.parts.kicks.get(queue) {
                    let _ = kick.write(1);
                }
                return;
            }
        }
    }

    /// The limits of the next submission: as many requests as the host has in flight, so that it does
    /// not run out of work while the device takes them.
    fn next_batch(&self) -> Batch {
        if self.host_is_immediate {
            return SMALL_BATCH;
        }
        let in_flight = u16::try_from(self.in_flight.len()).unwrap_or(u16::MAX);
        Batch {
            requests: in_flight.max(FIRST_BATCH),
            bytes: u64::MAX,
        }
    }

    fn ring_size(&mut self, queue: usize) -> Option<u16> {
        Some(self.active.as_mut()?.ring(queue)?.size())
    }

    fn take_requests(
        &mut self,
        active: &mut Queues,
        queue: usize,
        batch: &mut Batch,
        left: &mut u16,
    ) -> Result<Look, Broken> {
        let Some(ring) = active.ring(queue) else {
            return Ok(Look::Empty);
        };
        ring.disable_kicks()?;
        let configuration = Arc::clone(&self.parts.configuration);
        let mut disk = self.disk(&configuration, active.features);
        let now = Instant::now();
        loop {
            while let Some(ring) = active.ring(queue)
                && ring.pop(&mut self.chain)?
            {
                // The driver may have switched the write cache since the last request.
                disk.durability = self.durability(active.features);
                let bytes = self.take_request(active, queue, disk, now)?;
                *left = left.saturating_sub(1);
                batch.requests = batch.requests.saturating_sub(1);
                batch.bytes = batch.bytes.saturating_sub(bytes);
                if batch.requests == 0 || batch.bytes == 0 {
                    return Ok(Look::Later);
                }
                if !self.running {
                    // A fault has stopped the machine: later requests are not started.
                    return Ok(Look::Empty);
                }
            }
            if self.is_polling {
                return Ok(Look::Empty);
            }
            let came_meanwhile = match active.ring(queue) {
                Some(ring) => ring.enable_kicks()?,
                None => false,
            };
            if !came_meanwhile {
                return Ok(Look::Empty);
            }
        }
    }

    /// The context for requests of a driver with these features.
    fn disk<'a>(
        &self,
        configuration: &'a DiskConfiguration,
        features: u64,
    ) -> request::RequestContext<'a> {
        let space = &self.parts.space;
        let capabilities = space.capabilities();
        request::RequestContext {
            sectors: space.sectors(),
            access: configuration.access,
            durability: self.durability(features),
            serial: &configuration.serial,
            discard: capabilities
                .discard
                .filter(|_| Feature::Discard.is_in(features)),
            write_zeroes: capabilities
                .write_zeroes
                .filter(|_| Feature::WriteZeroes.is_in(features)),
            unmaps: capabilities.unmaps,
        }
    }

    /// When a write of a driver with these features is complete, as of now.
    fn durability(&self, features: u64) -> Durability {
        if self.parts.space.caches_writes(features) {
            Durability::Cached
        } else {
            Durability::Durable
        }
    }

    /// Submits or answers the request in `chain`, and returns its number of bytes.
    fn take_request(
        &mut self,
        active: &mut Queues,
        queue: usize,
        disk: request::RequestContext<'_>,
        now: Instant,
    ) -> Result<u64, Broken> {
        let memory = &self.parts.memory;
        match request::parse(memory, queue, &mut self.chain, disk)? {
            Parsed::Done(status, answer) => answer.complete(active, memory, status).map(|()| 0),
            Parsed::Invalid(kind, answer) => {
                self.parts.statistics.invalid(kind);
                let status = Status::IoError;
                answer.complete(active, memory, status).map(|()| 0)
            }
            Parsed::Submit(request, answer) => {
                active.admit(queue)?;
                let token = Token(self.next_token);
                self.next_token += 1;
                let bytes = request.data_length();
                let pending = Pending {
                    request,
                    submitted: now,
                    answer,
                    attempt: 0,
                    is_judged: false,
                };
                if self.limiter.is_idle() {
                    self.submit(token, pending);
                } else if let Some(pending) = self.limit(token, pending, now) {
                    self.submit(token, pending);
                }
                Ok(bytes)
            }
        }
    }

    /// Applies the disk's limits to a request, and returns it if it may be submitted at once.
    pub(super) fn limit(
        &mut self,
        token: Token,
        pending: Pending,
        now: Instant,
    ) -> Option<Pending> {
        let demand = Demand::of(&pending.request);
        self.limiter.push(token, demand, pending, now)
    }

    /// Submits a request, unless a rule decides otherwise.
    pub(super) fn submit(&mut self, token: Token, mut pending: Pending) {
        let is_judged = std::mem::take(&mut pending.is_judged);
        // Counted without rules, too: a replayed log refers to attempts before the first rule.
        let attempt = pending.attempt;
        pending.attempt = attempt.saturating_add(u32::from(!is_judged));
        if self.faults.engine.is_idle() || is_judged {
            self.start(token, pending);
        } else {
            self.judge(token, attempt, pending);
        }
    }

    /// Submits a request to the backend.
    pub(super) fn start(&mut self, token: Token, pending: Pending) {
        self.check_threshold(&pending.request);
        match self.translate_addresses(&pending.request) {
            Ok(request) => {
                self.in_flight.insert(token, pending);
                self.parts.backend.submit(token, request);
            }
            Err(errno) => self.end(token, pending, Err(errno)),
        }
    }

    /// The request with host addresses. Its segments were checked when it was taken.
    pub(super) fn translate_addresses(&self, request: &Request) -> Result<HostRequest, Errno> {
        let segments = request.segments.iter().copied();
        let buffers = IoBuffers::new(&self.parts.memory, segments);
        Ok(HostRequest {
            operation: request.operation.clone(),
            buffers: buffers.map_err(|_| Errno(libc::EFAULT))?,
        })
    }

    /// Notifies the observer of a request that exceeds the write threshold.
    pub(super) fn check_threshold(&self, request: &Request) {
        if let Some(exceeded) = self.parts.write_threshold.check(request) {
            self.parts.observer.write_threshold_exceeded(exceeded);
        }
    }

    /// Ends a turn with the queues: one interrupt for all its completions, or none; on an error,
    /// deactivates them.
    pub(super) fn finish(&mut self, mut active: Queues, result: Result<(), Broken>) {
        match result.and_then(|()| Ok(active.announce()?)) {
            Ok(()) => self.active = Some(active),
            Err(error) => {
                let disk = format_args!("disk '{}'", self.parts.configuration.id);
                self.complaints.add(&disk, &error);
                self.forget();
                active.interrupt.needs_reset();
            }
        }
    }

    /// Answers completed requests, or holds them.
    pub(super) fn complete(&mut self, completions: Vec<Completion>) {
        let now = Instant::now();
        let mut active = self.active.take();
        let mut result = Ok(());
        for Completion { token, result: end } in completions {
            let Some(pending) = self.in_flight.remove(&token) else {
                tracing::error!(
                    ?token,
                    "disk '{}': completed twice",
                    self.parts.configuration.id
                );
                continue;
            };
            if pending.request.operation.is_read() {
                mark_written(&self.parts.memory, &pending.request.segments);
            }
            if self.faults.power.is_failing() {
                if active.is_some() {
                    self.faults.power.cut_off(token, pending);
                }
                continue;
            }
            let status = self.judge_end(&pending.request.operation, end);
            self.count(&pending, end, status, now);
            match (status, &mut active) {
                (Some(status), Some(active)) if result.is_ok() => {
                    let answer = pending.answer;
                    active.retire(answer.queue);
                    result = answer.complete(active, &self.parts.memory, status);
                }
                // After a reset there is no driver to answer.
                (Some(_), _) => {}
                (None, active) => {
                    if active.is_some() {
                        self.held.insert(token, pending);
                    }
                    self.halt();
                    self.parts.observer.stop_machine(self.run);
                }
            }
        }
        if let Some(active) = active {
            self.finish(active, result);
        }
        self.settle();
    }

    /// The status of a completed request, or none when it is to be held. An error is reported to
    /// the observer and sets the io-status even after a reset by the driver: its data is missing
    /// from the disk.
    fn judge_end(&self, operation: &Operation, end: Result<(), Errno>) -> Option<Status> {
        let Err(errno) = end else {
            return Some(Status::Ok);
        };
        let is_read = operation.is_read();
        let action = self.parts.configuration.policy.action(is_read, errno);
        self.log(operation, errno, action);
        if action == ErrorAction::Stop {
            self.parts.io_status.set(self.run, errno);
        }
        self.parts.observer.io_error(&IoError {
            kind: if is_read {
                ErrorKind::Read
            } else {
                ErrorKind::Write
            },
            action,
            errno,
        });
        match action {
            ErrorAction::Report => Some(Status::IoError),
            ErrorAction::Ignore => Some(Status::Ok),
            ErrorAction::Stop => None,
        }
    }

    /// Counts a completed request by its status. A held request has not completed.
    fn count(
        &self,
        pending: &Pending,
        end: Result<(), Errno>,
        status: Option<Status>,
        now: Instant,
    ) {
        let statistics = &self.parts.statistics;
        let request = &pending.request;
        let kind = Kind::of(&request.operation);
        match status {
            Some(Status::Ok) => statistics.done(kind, request.length(), pending.submitted, now),
            Some(_) => statistics.failed(kind, pending.submitted, now),
            None => {}
        }
        if kind == Kind::Write && end.is_ok() {
            statistics.written_to(request.end());
        }
    }

    fn log(&self, operation: &Operation, errno: Errno, action: ErrorAction) {
        let id = &self.parts.configuration.id;
        let (name, offset) = match operation {
            Operation::Read { offset } => ("read", Some(*offset)),
            Operation::Write { offset, .. } => ("write", Some(*offset)),
            Operation::Flush => ("flush", None),
            Operation::Discard { ranges } => ("discard", ranges.first().map(|range| range.offset)),
            Operation::WriteZeroes { ranges, .. } => {
                ("write of zeroes", ranges.first().map(|range| range.offset))
            }
        };
        match offset.map(|offset| offset / SECTOR_SIZE) {
            Some(sector) => {
                tracing::info!(
                    "disk '{id}': {name} at sector {sector} failed: {errno}; {action:?}"
                );
            }
            None => tracing::info!("disk '{id}': {name} failed: {errno}; {action:?}"),
        }
    }
}
