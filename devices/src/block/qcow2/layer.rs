//! One file of an image, as the library reads and writes it.
//!
//! The library keeps tables in memory and writes them when it is told to flush. It writes in an
//! order that another program would find consistent, but does not wait for the medium in between,
//! and it makes a new table known before the refcounts say that its cluster is in use. Whoever is
//! killed then, or loses power, leaves tables behind whose clusters are given away again later. So
//! entries that make a table known are held back here until the refcounts are on the medium, and
//! tables of the second level wait for what they lead to.
//!
//! One gap is left, in the library: when a disk gets so much longer that its L1 table has to move,
//! the header says so before the refcounts do. Who is killed or loses power between the two has an
//! image that is refused the next time, as its L1 table counts as free; 'qemu-img check -r all'
//! repairs that, and nothing is lost.
#![expect(
    unsafe_code,
    reason = "the library's trait has unsafe methods, whose conditions concern alignment"
)]

use std::collections::BTreeMap;
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

use super::FormatError;
use super::header::{CORRUPT_BIT, FEATURES_AT, Header};
use super::metadata::{Metadata, Overlap, Write};
use super::unsynced::Unsynced;
use crate::block::{Access, CacheMode, Errno, Image};
use crate::sync::lock;

/// Zeroes that are written where the host cannot make them otherwise.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// What a layer's bytes beyond its end read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// An error.
    Error,
    /// Zeroes, up to the next multiple of this: the last cluster of a file need not be whole.
    Zeroes(u64),
}

/// A file of an image, shared by the library and who gave it to it.
#[derive(Debug, Clone)]
pub(super) struct Layer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    image: Image,
    helper: CommonStorageHelper,
    tail: Tail,
    version: u32,
    /// Of an image that is written.
    order: Option<Mutex<Order>>,
    /// What the tables of the second level may lead to.
    unsynced: Unsynced,
    /// Tables of the second level, which refcounts may no longer count for.
    unsynced_l2: Unsynced,
    /// Nothing may be written any more.
    frozen: AtomicBool,
}

/// What is known of an image's tables, and what of them waits to be written.
#[derive(Debug)]
struct Order {
    metadata: Metadata,
    held: Held,
}

/// Entries by their offsets.
type Entries = BTreeMap<u64, Vec<u8>>;

/// Entries that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Those that lead to blocks of refcounts. Tables of the second level wait for them.
    refcounts: Entries,
    /// Those that lead to tables of the second level.
    l1: Entries,
}

impl Held {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.refcounts.is_empty() && self.l1.is_empty()
    }
}

impl Layer {
    /// A layer with the disk's bytes as they are.
    pub(super) fn raw(image: Image) -> Self {
        Self(Arc::new(Shared {
            image,
            helper: CommonStorageHelper::default(),
            tail: Tail::Error,
            version: 0,
            order: None,
            unsynced: Unsynced::default(),
            unsynced_l2: Unsynced::default(),
            frozen: AtomicBool::new(false),
        }))
    }

    /// A layer with a header. If it is to be written, its tables are gone through.
    ///
    /// # Errors
    ///
    /// When a table cannot be read or trusted.
    pub(super) fn qcow2(image: Image, header: &Header) -> Result<Self, FormatError> {
        let order = match image.access() {
            Access::ReadOnly => None,
            Access::ReadWrite => Some(Mutex::new(Order {
                metadata: Metadata::read(image.cached_file(), header)?,
                held: Held::default(),
            })),
        };
        Ok(Self(Arc::new(Shared {
            image,
            helper: CommonStorageHelper::default(),
            tail: Tail::Zeroes(1 << header.cluster_bits),
            version: header.version,
            order,
            unsynced: Unsynced::default(),
            unsynced_l2: Unsynced::default(),
            frozen: AtomicBool::new(false),
        })))
    }

    /// The file.
    pub(super) fn image(&self) -> &Image {
        &self.0.image
    }

    /// How many of the bytes from `offset` on read as zeroes because the file ends before them;
    /// nothing if it should not have ended.
    pub(super) fn zeroes_past_end(&self, offset: u64, length: u64) -> Option<u64> {
        let Tail::Zeroes(unit) = self.0.tail else {
            return None;
        };
        let end = self.0.image.cached_file().metadata().ok()?.len();
        let last = offset.checked_add(length)?;
        (last > end && last <= end.next_multiple_of(unit)).then(|| last - end.max(offset))
    }

    /// Whether the guest's data may be written to that place of the file.
    pub(super) fn check_data(&self, offset: u64, length: u64) -> Result<(), Overlap> {
        let Some(order) = &self.0.order else {
            return Ok(());
        };
        let overlap = lock(order).metadata.overlap(offset, length);
        overlap.map_or(Ok(()), Err)
    }

    /// Notes that data has been written which a table may lead to from now on.
    pub(super) fn data_written(&self) {
        self.0.unsynced.note();
    }

    /// Waits until what has been written is on the medium.
    ///
    /// # Errors
    ///
    /// The errno of the first time that this failed, for ever.
    pub(super) fn wait_for_medium(&self) -> Result<(), Errno> {
        let image = &self.0.image;
        if image.cache() == CacheMode::Unsafe {
            return Ok(());
        }
        image.may_flush()?;
        // Before, so that what is written meanwhile is waited for again.
        let so_far = (self.0.unsynced.so_far(), self.0.unsynced_l2.so_far());
        image
            .file()
            .sync_data()
            .map_err(|error| image.flush_failed(Errno::of(&error)))?;
        // Not if another has failed meanwhile, and with it what this one stands for.
        image.may_flush()?;
        self.0.unsynced.reached(so_far.0);
        self.0.unsynced_l2.reached(so_far.1);
        Ok(())
    }

    /// Takes the entries that wait now. What they lead to is on the medium as soon as the library
    /// has flushed and the medium has been waited for. Those for refcounts wait on: tables of the
    /// second level that the library writes until then need them.
    pub(super) fn take_held(&self) -> Held {
        let Some(order) = &self.0.order else {
            return Held::default();
        };
        let mut order = lock(order);
        Held {
            refcounts: order.held.refcounts.clone(),
            l1: std::mem::take(&mut order.held.l1),
        }
    }

    /// Lets entries wait that were taken and not written. Newer ones stay.
    pub(super) fn put_back(&self, held: Held) {
        if let Some(order) = &self.0.order {
            let mut order = lock(order);
            for (offset, bytes) in held.l1 {
                order.held.l1.entry(offset).or_insert(bytes);
            }
        }
    }

    /// Writes entries that were taken, now that what they lead to is on the medium.
    ///
    /// # Errors
    ///
    /// What the host says. The entries wait again then.
    pub(super) fn write_held(&self, mut held: Held) -> Result<(), Errno> {
        let Some(order) = &self.0.order else {
            return Ok(());
        };
        let result = {
            let mut order = lock(order);
            // The others have been written, before a table that needed them.
            held.refcounts
                .retain(|offset, bytes| order.held.refcounts.get(offset) == Some(bytes));
            self.write_taken(&order.metadata, &held).inspect(|()| {
                order
                    .held
                    .refcounts
                    .retain(|offset, _| !held.refcounts.contains_key(offset));
            })
        };
        result.map_err(|error| {
            self.put_back(held);
            Errno::of(&error)
        })
    }

    fn write_taken(&self, metadata: &Metadata, held: &Held) -> io::Result<()> {
        if !held.refcounts.is_empty() {
            self.write_entries(metadata, &held.refcounts)?;
            // The tables that the others lead to are counted there.
            self.wait_for_medium().map_err(Errno::into_error)?;
        }
        self.write_entries(metadata, &held.l1)
    }

    fn write_entries(&self, metadata: &Metadata, entries: &Entries) -> io::Result<()> {
        for (offset, bytes) in entries {
            // A table that has moved meanwhile took its entries with it.
            let is_entry = matches!(
                metadata.classify(*offset, bytes.len() as u64),
                Ok(Write::L1Entry | Write::RefcountTableEntry)
            );
            if is_entry {
                self.write_bytes(bytes, *offset)?;
            }
        }
        Ok(())
    }

    /// Keeps everybody from writing the image again: this machine at once, and others by a mark in
    /// its header, where its version has room for one.
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

    fn write_bytes(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.0.frozen.load(Ordering::Acquire) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let result = self.0.image.cached_file().write_all_at(bytes, offset);
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WriteZero => io::Error::from_raw_os_error(libc::EIO),
            _ => error,
        })
    }

    /// Waits for the medium if something that must be there first may not be there yet.
    fn sync_if(&self, unsynced: &Unsynced) -> io::Result<()> {
        if !unsynced.is_behind() {
            return Ok(());
        }
        // A failure is for ever.
        self.wait_for_medium().map_err(Errno::into_error)
    }

    /// Writes or holds back what the library writes, in the order that keeps the image consistent.
    fn write_ordered(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(order) = &self.0.order else {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        };
        let mut order = lock(order);
        let write = order
            .metadata
            .classify(offset, bytes.len() as u64)
            .map_err(Overlap::into_error)?;
        match write {
            Write::L1Entry => {
                order.metadata.note_entry(write, bytes);
                order.held.l1.insert(offset, bytes.to_vec());
                Ok(())
            }
            Write::RefcountTableEntry => {
                order.metadata.note_entry(write, bytes);
                order.held.refcounts.insert(offset, bytes.to_vec());
                Ok(())
            }
            Write::L2 => {
                self.sync_if(&self.0.unsynced)?;
                if !order.held.refcounts.is_empty() {
                    self.write_entries(&order.metadata, &order.held.refcounts)?;
                    self.wait_for_medium().map_err(Errno::into_error)?;
                    order.held.refcounts.clear();
                }
                // Locked until here: another must not overtake the wait.
                self.write_bytes(bytes, offset)?;
                self.0.unsynced_l2.note();
                Ok(())
            }
            Write::Header => {
                let waited = |()| self.wait_for_medium().map_err(Errno::into_error);
                waited(())?;
                self.write_bytes(bytes, offset).and_then(waited)?;
                order
                    .metadata
                    .note_header(self.0.image.cached_file(), bytes);
                Ok(())
            }
            Write::RefcountBlock => {
                self.sync_if(&self.0.unsynced_l2)?;
                self.write_bytes(bytes, offset)?;
                self.data_written();
                Ok(())
            }
            Write::Unreferenced => {
                drop(order);
                self.write_bytes(bytes, offset)?;
                self.data_written();
                Ok(())
            }
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.image.path().display().fmt(f)
    }
}

/// What the library asks of a file. It goes through the page cache, where every place and length
/// can be had; the guest's data does not come along here.
impl Storage for Layer {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.image.length())
    }

    fn get_filename(&self) -> Option<PathBuf> {
        Some(self.0.image.path().to_owned())
    }

    // SAFETY: what the caller has to see to is alignment, and nothing has to be aligned here.
    unsafe fn pure_readv(&self, buffers: IoVectorMut<'_>, mut offset: u64) -> io::Result<()> {
        let file = self.0.image.cached_file();
        for mut buffer in buffers.into_inner() {
            let mut rest = &mut buffer[..];
            while !rest.is_empty() {
                match file.read_at(rest, offset) {
                    Ok(0) => {
                        let length = rest.len() as u64;
                        if self.zeroes_past_end(offset, length) != Some(length) {
                            return Err(io::Error::from_raw_os_error(libc::EIO));
                        }
                        rest.fill(0);
                        offset += length;
                        break;
                    }
                    Ok(count) => {
                        offset += count as u64;
                        rest = &mut rest[count..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
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
        // It becomes zeroes that nothing leads to, or is refused, as it is when written.
        self.check_data(offset, length)
            .map_err(Overlap::into_error)?;
        if self.0.frozen.load(Ordering::Acquire) {
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
