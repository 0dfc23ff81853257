//! A request on its way: what the host has to do next, and what follows from what it did.
//!
//! The host may do less than it was asked to, may be interrupted, and may refuse. What is made of
//! that is decided here, once, for every backend.

use std::sync::Arc;

use super::buffers::GuestBuffers;
use super::{Durability, Errno, Image, Operation, Request};

/// How often one call is made again after the host had no means for it.
const MAX_ATTEMPTS: u32 = 16;

/// What the host has to do.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Read as much as one call can.
    Read(&'a GuestBuffers, i64),
    /// Write as much as one call can, with these `RWF_` flags.
    Write(&'a GuestBuffers, i64, i32),
    /// `fdatasync`.
    Sync,
    /// Nothing more: the request has ended.
    Done(Result<(), Errno>),
}

/// One request, and how much of it is done. It holds the guest memory that the host may be moving,
/// and must be kept until a step that was begun has ended.
#[derive(Debug)]
pub(super) struct Progress {
    request: Arc<Request>,
    /// Bytes that are done.
    done: u64,
    /// What remains of the buffers, once something is done.
    rest: Option<GuestBuffers>,
    attempts: u32,
    end: Option<Result<(), Errno>>,
}

impl Progress {
    pub(super) fn new(request: Arc<Request>) -> Self {
        Self {
            request,
            done: 0,
            rest: None,
            attempts: 0,
            end: None,
        }
    }

    /// What is to be done now. Asking again, without [`Progress::ended`] in between, brings the
    /// same answer.
    pub(super) fn step(&self, image: &Image) -> Step<'_> {
        if let Some(result) = self.end {
            return Step::Done(result);
        }
        let buffers = self.rest.as_ref().unwrap_or(&self.request.buffers);
        let place = |offset: u64| {
            let place = offset
                .checked_add(self.done)
                .and_then(|place| i64::try_from(place).ok());
            place.ok_or(Errno::EFBIG)
        };
        let transfer = |offset, step: fn(_, _, _) -> _, flags| match place(offset) {
            _ if buffers.length() == 0 => Step::Done(Ok(())),
            Ok(place) => step(buffers, place, flags),
            Err(errno) => Step::Done(Err(errno)),
        };
        match self.request.operation {
            Operation::Read { offset } => {
                transfer(offset, |buffers, place, _| Step::Read(buffers, place), 0)
            }
            Operation::Write { offset, durability } => {
                let flags = match durability {
                    Durability::Cached => 0,
                    Durability::Durable => libc::RWF_DSYNC,
                };
                transfer(offset, Step::Write, flags)
            }
            Operation::Flush => match image.may_flush() {
                Ok(()) => Step::Sync,
                Err(errno) => Step::Done(Err(errno)),
            },
        }
    }

    /// Takes what became of a step: the bytes that it moved, which is nothing for a flush.
    pub(super) fn ended(&mut self, image: &Image, result: Result<usize, Errno>) {
        let is_flush = self.request.operation == Operation::Flush;
        match result {
            Err(Errno(libc::EINTR)) => {}
            Err(Errno(libc::EAGAIN)) if !is_flush && self.attempts < MAX_ATTEMPTS => {
                self.attempts += 1;
            }
            Err(errno) if is_flush => self.end = Some(Err(image.flush_failed(errno))),
            Err(errno) => self.end = Some(Err(errno)),
            // Not if another has failed meanwhile, and with it what this one stands for.
            Ok(_) if is_flush => self.end = Some(image.may_flush()),
            // The image ends before the disk does.
            Ok(0) => self.end = Some(Err(Errno::EIO)),
            Ok(moved) => {
                self.attempts = 0;
                self.done += moved as u64;
                if self.done >= self.request.buffers.length() {
                    self.end = Some(Ok(()));
                } else {
                    let before = self.rest.as_ref().unwrap_or(&self.request.buffers);
                    self.rest = Some(before.after(moved));
                }
            }
        }
    }
}
