//! A file of an image, as the library's storage.
//!
//! The library's writes go through `ordering`. The library never frees a cluster: it asks before it does
//! ([`Storage::settle_writes`]), and receives an error. `release` frees instead.
#![expect(
    unsafe_code,
    reason = "the library's trait has unsafe methods, whose conditions concern alignment"
)]

use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::drivers::CommonStorageHelper;
use imago::storage::{PreallocateMode, Storage};
use rustix::fs::{FallocateFlags, fallocate};

use super::error::FormatError;
use super::header::{CORRUPT_BIT, FEATURES_AT, Header};
use super::metadata::{Metadata, Overlap};
use super::ordering::Order;
use super::unsynced::Unsynced;
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::Image;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::sync::lock;

/// Zeroes that are written where the host cannot make them otherwise.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// The treatment of reads beyond a layer's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// An error.
    Error,
    /// Zeroes, up to the next multiple of this: the last cluster of a file may be incomplete.
    Zeroes(u64),
}

/// A file of an image, shared by the library and its user.
#[derive(Debug, Clone)]
pub(super) struct Layer(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    image: Image,
    helper: CommonStorageHelper,
    tail: Tail,
    version: u32,
    /// For an image that is written.
    pub(super) order: Option<Mutex<Order>>,
    /// Targets of entries: data, tables and refcounts.
    pub(super) unsynced: Unsynced,
    /// Writes are refused.
    frozen: AtomicBool,
}

impl Layer {
    /// A raw layer.
    pub(super) fn raw(image: Image) -> Self {
        Self(Arc::new(Shared {
            image,
            helper: CommonStorageHelper::default(),
            tail: Tail::Error,
            version: 0,
            order: None,
            unsynced: Unsynced::default(),
            frozen: AtomicBool::new(false),
        }))
    }

    /// A layer with a header. The tables of one that is written are read.
    ///
    /// # Errors
    ///
    /// If a table cannot be read, or is invalid.
    pub(super) fn qcow2(image: Image, header: &Header) -> Result<Self, FormatError> {
        let order = match image.access() {
            Access::ReadOnly => None,
            Access::ReadWrite => {
                let metadata = Metadata::read(image.cached_file(), header)?;
                Some(Mutex::new(Order::new(metadata)))
            }
        };
        Ok(Self(Arc::new(Shared {
            image,
            helper: CommonStorageHelper::default(),
            tail: Tail::Zeroes(1 << header.cluster_bits),
            version: header.version,
            order,
            unsynced: Unsynced::default(),
            frozen: AtomicBool::new(false),
        })))
    }

    /// The file.
    pub(super) fn image(&self) -> &Image {
        &self.0.image
    }

    /// How many bytes from `offset` on read as zeroes because the file ends before them; `None` if it should not have
    /// ended.
    pub(super) fn zeroes_past_end(&self, offset: u64, length: u64) -> Option<u64> {
        let Tail::Zeroes(unit) = self.0.tail else {
            return None;
        };
        let end = self.0.image.cached_file().metadata().ok()?.len();
        let last = offset.checked_add(length)?;
        (last > end && last <= end.next_multiple_of(unit)).then(|| last - end.max(offset))
    }

    /// Whether guest data may be written at this offset of the file.
    pub(super) fn check_data(&self, offset: u64, length: u64) -> Result<(), Overlap> {
        let Some(order) = &self.0.order else {
            return Ok(());
        };
        let overlap = lock(order).metadata.overlap(offset, length);
        overlap.map_or(Ok(()), Err)
    }

    /// Records that data have been written to which a table may refer.
    pub(super) fn data_written(&self) {
        self.0.unsynced.note();
    }

    /// Waits until everything written is on the medium.
    ///
    /// # Errors
    ///
    /// The errno of the first failure, for ever.
    pub(super) fn wait_for_medium(&self) -> Result<(), Errno> {
        let image = &self.0.image;
        if image.cache() == CacheMode::Unsafe {
            return Ok(());
        }
        image.may_flush()?;
        // Before, so that what is written meanwhile is waited for again.
        let so_far = self.0.unsynced.so_far();
        image
            .file()
            .sync_data()
            .map_err(|error| image.flush_failed(Errno::of(&error)))?;
        // Unless another wait has failed meanwhile, and this one with it.
        image.may_flush()?;
        self.0.unsynced.reached(so_far);
        Ok(())
    }

    /// Keeps everybody from writing the image: this machine at once, and others by a flag in its header, if its version
    /// has one.
    pub(super) fn freeze_and_mark(&self) {
        if self.0.frozen.swap(true, Ordering::AcqRel) || self.0.version < 3 {
            return;
        }
        let file = self.0.image.cached_file();
        let at = FEATURES_AT + 7;
        let mut byte = [0];
        let marked = file.read_exact_at(&mut byte, at).and_then(|()| {
            file.write_all_at(&[byte[0] | CORRUPT_BIT], at)?;
            file.sync_data()
        });
        if let Err(error) = marked {
            let path = self.0.image.path().display();
            tracing::error!("'{path}' cannot be marked as corrupt: {error}");
        }
    }

    /// Whether writes are refused.
    pub(super) fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Acquire)
    }

    /// Writes bytes of the file.
    ///
    /// # Errors
    ///
    /// The host's error; EIO once the image is frozen.
    pub(super) fn write_bytes(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.is_frozen() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let result = self.0.image.cached_file().write_all_at(bytes, offset);
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WriteZero => io::Error::from_raw_os_error(libc::EIO),
            _ => error,
        })
    }

    /// Reads bytes of the file, and zeroes for what its last cluster lacks.
    ///
    /// # Errors
    ///
    /// The host's error; EIO if the file should not have ended.
    pub(super) fn read_bytes(&self, mut rest: &mut [u8], mut offset: u64) -> io::Result<()> {
        let file = self.0.image.cached_file();
        while !rest.is_empty() {
            match file.read_at(rest, offset) {
                Ok(0) => {
                    let length = rest.len() as u64;
                    if self.zeroes_past_end(offset, length) != Some(length) {
                        return Err(io::Error::from_raw_os_error(libc::EIO));
                    }
                    rest.fill(0);
                    return Ok(());
                }
                Ok(count) => {
                    offset += count as u64;
                    rest = &mut rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.image.path().display().fmt(f)
    }
}

/// The library's storage. It uses buffered I/O, at any offset and length; guest data do not pass through it.
impl Storage for Layer {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.image.length())
    }

    fn get_filename(&self) -> Option<PathBuf> {
        Some(self.0.image.path().to_owned())
    }

    // SAFETY: the caller must ensure alignment, and nothing needs any here.
    unsafe fn pure_readv(&self, buffers: IoVectorMut<'_>, mut offset: u64) -> io::Result<()> {
        for mut buffer in buffers.into_inner() {
            self.read_bytes(&mut buffer, offset)?;
            offset += buffer.len() as u64;
        }
        Ok(())
    }

    // SAFETY: as for `pure_readv`.
    unsafe fn pure_writev(&self, buffers: IoVector<'_>, mut offset: u64) -> io::Result<()> {
        for buffer in buffers.into_inner() {
            self.write_ordered(&buffer, offset)?;
            offset += buffer.len() as u64;
        }
        Ok(())
    }

    // SAFETY: as for `pure_readv`.
    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        // The range becomes zeroes that nothing refers to, or is refused, as when it is written.
        self.check_data(offset, length)
            .map_err(Overlap::into_error)?;
        if self.is_frozen() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let file = self.0.image.cached_file();
        if fallocate(file, FallocateFlags::ZERO_RANGE, offset, length).is_ok() {
            self.data_written();
            return Ok(());
        }
        let mut done = 0;
        while done < length {
            let count =
                usize::try_from(length - done).map_or(ZEROES.len(), |n| n.min(ZEROES.len()));
            self.write_bytes(&ZEROES[..count], offset + done)?;
            done += count as u64;
        }
        self.data_written();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.wait_for_medium().map_err(Errno::into_error)
    }

    /// Called before the library decrements refcounts in memory. An error prevents that.
    fn settle_writes(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    // SAFETY: there is nothing to invalidate.
    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.0.helper
    }

    fn resize(&self, _new_size: u64, _mode: PreallocateMode) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
