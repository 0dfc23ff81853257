//! A request on its way: what the host has to do next, and what follows from what it did.
//!
//! The host may do less than it was asked to, may be interrupted, and may refuse. What is made of
//! that is decided here, once, for every backend.

use std::sync::Arc;

use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::buffers::{GuestBuffers, Segment};
use super::{CacheMode, Durability, Errno, Image, Operation, Request};

/// How often one call is made again after the host had no means for it.
const MAX_ATTEMPTS: u32 = 16;

/// Bytes that one call moves through memory of our own, where the guest's is not aligned.
const BOUNCE: u32 = 256 << 10;

/// Which of the image's files a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// [`Image::file`].
    Plain,
    /// [`Image::cached_file`], as it is not aligned.
    Cached,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub way: Way,
    pub buffers: &'a GuestBuffers,
    /// Offset in the file, in bytes.
    pub place: i64,
}

/// What the host has to do.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Read as much as one call can.
    Read(Transfer<'a>),
    /// Write as much as one call can, with these `RWF_` flags.
    Write(Transfer<'a>, i32),
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
    /// Aligned memory of our own that stands for the guest's in the present step.
    bounce: Option<GuestBuffers>,
    attempts: u32,
    end: Option<Result<(), Errno>>,
}

impl Progress {
    pub(super) fn new(request: Arc<Request>) -> Self {
        Self {
            request,
            done: 0,
            rest: None,
            bounce: None,
            attempts: 0,
            end: None,
        }
    }

    /// What is to be done now. Asking again, without [`Progress::ended`] in between, brings the
    /// same answer.
    pub(super) fn step(&mut self, image: &Image) -> Step<'_> {
        if let Some(result) = self.end {
            return Step::Done(result);
        }
        let result = match self.request.operation {
            Operation::Read { offset } => self.transfer(image, offset).map(Step::Read),
            Operation::Write { offset, durability } => {
                let flags = match durability {
                    Durability::Durable if image.cache() != CacheMode::Unsafe => libc::RWF_DSYNC,
                    _ => 0,
                };
                let transfer = self.transfer(image, offset);
                transfer.map(|transfer| Step::Write(transfer, flags))
            }
            Operation::Flush if image.cache() == CacheMode::Unsafe => Err(Ok(())),
            Operation::Flush => match image.may_flush() {
                Ok(()) => Ok(Step::Sync),
                Err(errno) => Err(Err(errno)),
            },
        };
        result.unwrap_or_else(Step::Done)
    }

    /// The next call for a request that begins at `offset`, or its end.
    fn transfer(&mut self, image: &Image, offset: u64) -> Result<Transfer<'_>, Result<(), Errno>> {
        let buffers = self.rest.as_ref().unwrap_or(&self.request.buffers);
        if buffers.length() == 0 {
            return Err(Ok(()));
        }
        let place = offset
            .checked_add(self.done)
            .and_then(|place| i64::try_from(place).ok())
            .ok_or(Err(Errno::EFBIG))?;
        let mut way = Way::Plain;
        if let Some(alignment) = image.alignment() {
            let is_whole = |bytes: u64| bytes.is_multiple_of(alignment.file as u64);
            if !is_whole(place.cast_unsigned()) || !is_whole(buffers.length()) {
                way = Way::Cached;
            } else if self.bounce.is_none() && !buffers.is_aligned(alignment.memory, alignment.file)
            {
                let bounce = bounce(buffers.length()).ok_or(Err(Errno(libc::ENOMEM)))?;
                if !self.request.operation.is_read() {
                    buffers.copy_to(&bounce, BOUNCE as usize);
                }
                self.bounce = Some(bounce);
            }
        }
        Ok(Transfer {
            way,
            buffers: self.bounce.as_ref().unwrap_or(buffers),
            place,
        })
    }

    /// Takes what became of a step: the bytes that it moved, which is nothing for a flush.
    pub(super) fn ended(&mut self, image: &Image, result: Result<usize, Errno>) {
        let is_flush = self.request.operation == Operation::Flush;
        let bounce = self.bounce.take();
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
                let before = self.rest.as_ref().unwrap_or(&self.request.buffers);
                if let Some(bounce) = bounce
                    && self.request.operation.is_read()
                {
                    bounce.copy_to(before, moved);
                }
                self.attempts = 0;
                self.done += moved as u64;
                if self.done >= self.request.buffers.length() {
                    self.end = Some(Ok(()));
                } else {
                    self.rest = Some(before.after(moved));
                }
            }
        }
    }
}

/// Memory of our own, aligned to a page, for that many bytes or as many as go through it at a time.
fn bounce(length: u64) -> Option<GuestBuffers> {
    let length = u32::try_from(length).unwrap_or(BOUNCE).min(BOUNCE);
    let start = GuestAddress(0);
    let memory = GuestMemoryMmap::from_ranges(&[(start, length as usize)]).ok()?;
    let whole = Segment {
        address: start,
        length,
    };
    GuestBuffers::new(&Arc::new(memory), [whole]).ok()
}
