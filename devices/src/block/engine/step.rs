//! The steps of a request: the next host call, and what follows from its result.
//!
//! Short transfers, interruptions and refusals are handled here, once, for every backend.

use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::Image;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};

/// Retries of one call after the host lacked resources for it.
const MAX_ATTEMPTS: u32 = 16;

/// Bytes that one call moves through a bounce buffer.
const BOUNCE: usize = 256 << 10;

/// The image's file that a transfer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::block) enum Way {
    /// [`Image::file`].
    Plain,
    /// [`Image::cached_file`]: the transfer is not aligned.
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

/// A range of the file to deallocate or zero.
#[derive(Debug, Clone, Copy)]
pub(in crate::block) struct Allocation {
    /// `FALLOC_FL_` flags.
    pub mode: i32,
    /// Ends below the maximum file size.
    pub range: Range,
}

/// The next call to the host.
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

/// How a range is zeroed. Where the host lacks one method, the next is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// Deallocates it.
    Punch,
    /// Marks its extents as unwritten.
    Zero,
    /// Writes zeroes.
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

/// The last call to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Transfer,
    Sync,
    Allocate,
}

/// One request, and how much of it is done. It holds the guest memory that the host may access, and
/// must outlive each step that was begun.
#[derive(Debug)]
pub(in crate::block) struct Progress {
    request: HostRequest,
    asked: Asked,
    /// Ranges that are done.
    ranges: usize,
    /// How the current range is zeroed.
    method: Method,
    /// Bytes that are done, of the request or of the current range.
    done: u64,
    /// The rest of the buffers, after a partial transfer.
    rest: Option<IoBuffers>,
    /// The bounce buffer of the current step, or the zeroes to write.
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

    /// The current step. Without [`Progress::ended`] in between, a second call returns the same
    /// step.
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

    /// The next range with space to deallocate.
    fn discard(&mut self, image: &Image) -> Result<IoStep<'_>, Result<(), Errno>> {
        let Some(limits) = image.capabilities().discard else {
            return Err(Ok(()));
        };
        self.asked = Asked::Allocate;
        while let Some(range) = self.range()? {
            // Unaligned ends stay allocated: the host deallocates whole units only.
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

    /// The current range, if any is left. It ends below the maximum file size.
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

    /// Takes the result of a step: the bytes that it moved, zero for a flush.
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
            // Fails if another flush has failed meanwhile, which covers the same writes.
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

    /// Accounts for a partial transfer.
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

    /// Takes the result of an allocation step; the host may not support it.
    fn allocated(&mut self, result: Result<usize, Errno>) {
        let Err(errno) = result else {
            return self.range_done();
        };
        // A block device returns EINVAL for a range that is not a multiple of its blocks.
        let cannot = matches!(
            errno,
            Errno(libc::EOPNOTSUPP | libc::EINVAL | libc::ENODEV | libc::ENOSYS | libc::ENOTTY)
        );
        match (&self.request.operation, self.method.next()) {
            // A discard is a hint.
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

/// A bounce buffer for that many bytes, at most [`BOUNCE`].
pub(in crate::block) fn bounce_buffer(length: u64) -> IoBuffers {
    IoBuffers::own_pages(usize::try_from(length).unwrap_or(BOUNCE).min(BOUNCE))
}
