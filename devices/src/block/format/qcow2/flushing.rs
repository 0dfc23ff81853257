//! Flushes, and the release of dropped clusters after them.
#![expect(
    unsafe_code,
    reason = "dropping the library's caches is unsafe while they have changes"
)]

use std::io;

use imago::FormatAccess;

use super::disk::{Qcow2Image, quietly};
use super::layer::Layer;
use crate::block::model::errno::Errno;

impl Qcow2Image {
    /// Writes all cached tables.
    pub(super) fn flush(&self) -> Result<(), Errno> {
        if !self.is_writable() {
            return Ok(());
        }
        if self.top.owes_space() || self.top.is_full() {
            return self.flush_and_release();
        }
        let _only = self.lock_flushes();
        self.flush_in_order(|| self.shared().flush())
    }

    /// The same, and releases dropped clusters. Those that cannot be released now are kept.
    pub(super) fn flush_and_release(&self) -> Result<(), Errno> {
        // The warning has been logged.
        self.flush_and_try_release().map(|_released| ())
    }

    /// The same. The inner result is that of the release.
    pub(super) fn flush_and_try_release(&self) -> Result<Result<(), Errno>, Errno> {
        let _only = self.lock_flushes();
        // Most of it, while others continue.
        self.flush_in_order(|| self.shared().flush())?;
        if self.top.dropped() > 0 {
            let access = self.alone();
            self.settle(&access)?;
            return Ok(self.release(&access));
        }
        Ok(Ok(()))
    }

    /// Writes all cached tables, with exclusive access to the image.
    pub(super) fn settle(&self, access: &FormatAccess<Layer>) -> Result<(), Errno> {
        self.flush_in_order(|| access.flush())
    }

    /// Releases dropped clusters, after [`Self::settle`]. After an error, which is logged, they stay leaked until the
    /// next time.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub(super) fn release(&self, access: &FormatAccess<Layer>) -> Result<(), Errno> {
        let released = self.top.release();
        if let Ok(false) = released {
            return Ok(());
        }
        // After an error, too: some may have been decremented.
        let forgotten = self.forget_tables(access);
        released.and(forgotten).map_err(|error| {
            tracing::warn!(
                "'{}' keeps clusters that it does not need: {error}",
                self.top
            );
            Errno::of(&error)
        })
    }

    /// Makes the library read its tables again, after [`Self::settle`].
    ///
    /// # Errors
    ///
    /// The host's error. The library may have old tables then.
    pub(super) fn forget_tables(&self, access: &FormatAccess<Layer>) -> io::Result<()> {
        // SAFETY: the caller has written everything that the library had changed, and has had exclusive access since.
        unsafe { access.invalidate_cache() }
    }

    /// Writes waiting entries, after `flush_library` has written what they refer to.
    fn flush_in_order(&self, flush_library: impl FnOnce() -> io::Result<()>) -> Result<(), Errno> {
        let held = self.top.take_held();
        if let Err(error) = quietly(flush_library) {
            self.top.put_back(held);
            return Err(self.errno(&error));
        }
        if !held.is_empty() {
            if let Err(errno) = self.top.wait_for_medium() {
                self.top.put_back(held);
                return Err(errno);
            }
            self.top.write_held(held)?;
        }
        self.top.wait_for_medium()
    }
}
