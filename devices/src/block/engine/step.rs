//! A request on its way: what the host has to do next, and what follows from what it did.
//!
//! The host may do less than it was asked to, may be interrupted, and may refuse. What is made of
//! that is decided here, once, for every backend.

use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::Image;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};

/// How often one call is made again after the host had no means for it.
const MAX_ATTEMPTS: u32 = 16;

/// Bytes that one call moves through memory of our own, where the guest's is not aligned.
const BOUNCE: usize = 256 << 10;

/// Which of the image's files a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::block) enum Way {
    /// [`Image::file`].
    Plain,
    /// [`Image::cached_file`], as it is not aligned.
    Cached,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(in crate::block) struct Transfer<'a> {
    pub way: Way,
    pub buffers: &'a IoBuffers,
    /// Offset in the file, in bytes.
    pub place: i64,
}

/// Space of the file that is to be given back or zeroed.
#[derive(Debug, Clone, Copy)]
pub(in crate::block) struct Allocation {
    /// `FALLOC_FL_` flags.
    pub mode: i32,
    /// Ends within what files can have.
    pub range: Range,
}

/// What the host has to do.
#[derive(Debug)]
pub(in crate::block) enum IoStep<'a> {
    /// Read as much as one call can.
    Read(Transfer<'a>),
    /// Write as much as one call can, with these `RWF_` flags.
    Write(Transfer<'a>, i32),
    /// `fdatasync`.
    Sync,
    /// `fallocate`.
    Allocate(Allocation),
    /// Nothing more: the request has ended.
    Done(Result<(), Errno>),
}

/// How a range becomes zeroes. What the host cannot do is tried in the next way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// By giving its space back.
    Punch,
    /// By marking its space as not written.
    Zero,
    /// By writing zeroes.
    Write,
}

impl Method {
    fn next(self) -> Option<Self> {
        match self {
            Self::Punch => Some(Self::Zero),
            Self::Zero => Some(Self::Write),
            Self::Write => None,
        }
    }
}

/// What the host was asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Transfer,
    Sync,
    Allocate,
}

/// One request, and how much of it is done. It holds the guest memory that the host may be moving,
/// and must be kept until a step that was begun has ended.
#[derive(Debug)]
pub(in crate::block) struct Progress {
    request: HostRequest,
    asked: Asked,
    /// Ranges that are done.
    ranges: usize,
    /// How the present range becomes zeroes.
    method: Method,
    /// Bytes that are done, of the request or of the present range.
    done: u64,
    /// What remains of the buffers, once something is done.
    rest: Option<IoBuffers>,
    /// Aligned memory of our own that stands for the guest's in the present step, or has the zeroes
    /// that are to be written.
    bounce: Option<IoBuffers>,
    attempts: u32,
    end: Option<Result<(), Errno>>,
}

impl Progress {
    pub(in crate::block) fn new(request: HostRequest) -> Self {
        let method = match request.operation {
            Operation::WriteZeroes {
                zeroing: Zeroing::KeepSpace,
                ..
            } => Method::Zero,
            _ => Method::Punch,
        };
        Self {
            request,
            asked: Asked::Transfer,
            ranges: 0,
            method,
            done: 0,
            rest: None,
            bounce: None,
            attempts: 0,
            end: None,
        }
    }

    /// What is to be done now. Asking again, without [`Progress::ended`] in between, brings the
    /// same answer.
    pub(in crate::block) fn step(&mut self, image: &Image) -> IoStep<'_> {
        if let Some(result) = self.end {
            return IoStep::Done(result);
        }
        let result = match self.request.operation {
            Operation::Read { offset } => self.transfer(image, offset).map(IoStep::Read),
            Operation::Write { offset, durability } => {
                let flags = match durability {
                    Durability::Durable if image.cache() != CacheMode::Unsafe => libc::RWF_DSYNC,
                    _ => 0,
                };
                let transfer = self.transfer(image, offset);
                transfer.map(|transfer| IoStep::Write(transfer, flags))
            }
            Operation::Flush => self.sync(image),
            Operation::Discard { .. } => self.discard(image),
            Operation::WriteZeroes { durability, .. } => self.write_zeroes(image, durability),
        };
        result.unwrap_or_else(IoStep::Done)
    }

    fn sync(&mut self, image: &Image) -> Result<IoStep<'_>, Result<(), Errno>> {
        self.asked = Asked::Sync;
        if image.cache() == CacheMode::Unsafe {
            return Err(Ok(()));
        }
        image.may_flush().map(|()| IoStep::Sync).map_err(Err)
    }

    /// The next range that has something to give back.
    fn discard(&mut self, image: &Image) -> Result<IoStep<'_>, Result<(), Errno>> {
        let Some(limits) = image.capabilities().discard else {
            return Err(Ok(()));
        };
        self.asked = Asked::Allocate;
        while let Some(range) = self.range()? {
            // What lies at the ends keeps its space: the host has nothing smaller to give back.
            let unit = u64::from(limits.alignment);
            let (start, end) = (
                range.offset.next_multiple_of(unit),
                range.end() / unit * unit,
            );
            if start < end {
                let range = Range {
                    offset: start,
                    length: end - start,
                };
                return Ok(IoStep::Allocate(Allocation {
                    mode: libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                    range,
                }));
            }
            self.range_done();
        }
        Err(Ok(()))
    }

    fn write_zeroes(
        &mut self,
        image: &Image,
        durability: Durability,
    ) -> Result<IoStep<'_>, Result<(), Errno>> {
        let range = loop {
            match self.range()? {
                Some(range) if range.length == 0 => self.range_done(),
                Some(range) => break range,
                None if durability == Durability::Durable => return self.sync(image),
                None => return Err(Ok(())),
            }
        };
        let mode = match self.method {
            Method::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            Method::Zero => libc::FALLOC_FL_ZERO_RANGE,
            Method::Write => return self.write_zero_bytes(image, range),
        };
        self.asked = Asked::Allocate;
        Ok(IoStep::Allocate(Allocation { mode, range }))
    }

    fn write_zero_bytes(
        &mut self,
        image: &Image,
        range: Range,
    ) -> Result<IoStep<'_>, Result<(), Errno>> {
        self.asked = Asked::Transfer;
        let place = range.offset + self.done;
        let left = range.length - self.done;
        let zeroes = bounce_buffer(left);
        let way = match image.alignment() {
            Some(alignment)
                if !alignment.is_whole(place) || !alignment.is_whole(zeroes.length()) =>
            {
                Way::Cached
            }
            _ => Way::Plain,
        };
        let transfer = Transfer {
            way,
            buffers: self.bounce.insert(zeroes),
            place: place.cast_signed(),
        };
        Ok(IoStep::Write(transfer, 0))
    }

    /// The range that is to be done now, if any is left. Its end is a place that files can have.
    fn range(&self) -> Result<Option<Range>, Result<(), Errno>> {
        let (Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. }) =
            &self.request.operation
        else {
            return Ok(None);
        };
        match ranges.get(self.ranges).copied() {
            Some(range) if i64::try_from(range.end()).is_err() => Err(Err(Errno::EFBIG)),
            range => Ok(range),
        }
    }

    /// The next call for a request that begins at `offset`, or its end.
    fn transfer(&mut self, image: &Image, offset: u64) -> Result<Transfer<'_>, Result<(), Errno>> {
        self.asked = Asked::Transfer;
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
            if !alignment.is_whole(place.cast_unsigned()) || !alignment.is_whole(buffers.length()) {
                way = Way::Cached;
            } else if self.bounce.is_none() && !buffers.is_aligned(alignment.memory, alignment.file)
            {
                let bounce = bounce_buffer(buffers.length());
                if !self.request.operation.is_read() {
                    buffers.copy_to(&bounce, BOUNCE);
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
    pub(in crate::block) fn ended(&mut self, image: &Image, result: Result<usize, Errno>) {
        let bounce = self.bounce.take();
        let moved = match (self.asked, result) {
            (_, Err(Errno(libc::EINTR))) => return,
            (Asked::Transfer | Asked::Allocate, Err(Errno(libc::EAGAIN)))
                if self.attempts < MAX_ATTEMPTS =>
            {
                self.attempts += 1;
                return;
            }
            (Asked::Sync, Err(errno)) => {
                self.end = Some(Err(image.flush_failed(errno)));
                return;
            }
            // Not if another has failed meanwhile, and with it what this one stands for.
            (Asked::Sync, Ok(_)) => {
                self.end = Some(image.may_flush());
                return;
            }
            (Asked::Allocate, result) => return self.allocated(result),
            (Asked::Transfer, Err(errno)) => {
                self.end = Some(Err(errno));
                return;
            }
            (Asked::Transfer, Ok(moved)) => moved,
        };
        self.attempts = 0;
        if moved == 0 {
            // The image ends before the disk does.
            self.end = Some(Err(Errno::EIO));
        } else if let Ok(Some(range)) = self.range() {
            self.done += moved as u64;
            if self.done >= range.length {
                self.range_done();
            }
        } else {
            self.moved(moved, bounce);
        }
    }

    /// A part of the buffers has been moved.
    fn moved(&mut self, moved: usize, bounce: Option<IoBuffers>) {
        let before = self.rest.as_ref().unwrap_or(&self.request.buffers);
        if let Some(bounce) = bounce
            && self.request.operation.is_read()
        {
            bounce.copy_to(before, moved);
        }
        self.done += moved as u64;
        if self.done >= self.request.buffers.length() {
            self.end = Some(Ok(()));
        } else {
            self.rest = Some(before.after(moved));
        }
    }

    /// Space has been given back or zeroed, or the host cannot do that.
    fn allocated(&mut self, result: Result<usize, Errno>) {
        let Err(errno) = result else {
            return self.range_done();
        };
        // EINVAL is what a block device says of a range that is not made of its blocks.
        let cannot = matches!(
            errno,
            Errno(libc::EOPNOTSUPP | libc::EINVAL | libc::ENODEV | libc::ENOSYS | libc::ENOTTY)
        );
        match (&self.request.operation, self.method.next()) {
            // It was only a hint.
            (Operation::Discard { .. }, _) if cannot => self.range_done(),
            (_, Some(method)) if cannot => self.method = method,
            _ => self.end = Some(Err(errno)),
        }
    }

    fn range_done(&mut self) {
        self.ranges += 1;
        self.done = 0;
        self.attempts = 0;
    }
}

/// A bounce buffer for that many bytes, or as many as go through it at a time.
pub(in crate::block) fn bounce_buffer(length: u64) -> IoBuffers {
    IoBuffers::own_pages(usize::try_from(length).unwrap_or(BOUNCE).min(BOUNCE))
}
