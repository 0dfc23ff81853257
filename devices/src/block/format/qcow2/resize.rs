//! Another size.

use std::ops::Range;
use std::sync::atomic::Ordering;

use imago::format::PreallocateMode;
use imago::{FormatAccess, ShallowMapping};

use super::disk::{Qcow2Image, quietly};
use super::layer::Layer;
use super::space::{Becoming, is_own};
use crate::block::engine::thread_pool::Medium;
use crate::block::model::errno::Errno;

impl Qcow2Image {
    /// Makes the disk longer or shorter.
    pub(super) fn change_size(&self, length: u64) -> Result<(), Errno> {
        let old = self.length();
        if self.broken.load(Ordering::Acquire) {
            return Err(Errno(libc::ENOMEDIUM));
        }
        if !self.is_writable() {
            return Err(Errno(libc::EACCES));
        }
        if length < old && self.has_snapshots {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        // Most of what will have to be flushed when nothing else can be done.
        self.flush()?;
        if length < old {
            self.shrink(length)?;
        } else {
            self.grow(length)?;
        }
        // The size is another by now, and so it must be to the guest. What could not be written
        // is its next flush's to tell.
        if let Err(errno) = self.flush_and_release() {
            tracing::error!(
                "'{}' has its new size, but not all of it: {errno}",
                self.top
            );
        }
        Ok(())
    }

    /// Bytes of the disk that one L2 table maps.
    fn table_reach(&self) -> u64 {
        self.cluster_size * (self.cluster_size / 8)
    }

    /// Frees what is past a new end, step by step while others use the image, up to what they add
    /// meanwhile. The disk keeps its size.
    ///
    /// # Errors
    ///
    /// What the host says; ECANCELED when the image is closed meanwhile.
    pub(super) fn free_past(&self, length: u64) -> Result<(), Errno> {
        self.drop_clusters(self.past_in_table(length), Becoming::Nothing, is_own)?;
        loop {
            let only = self.lock_flushes();
            let is_all = self.cut_tables(&self.alone(), length.div_ceil(self.table_reach()))?;
            drop(only);
            // What cannot be released would never make room for the rest.
            self.flush_and_try_release()??;
            if is_all {
                return Ok(());
            }
            self.give_way()?;
        }
    }

    /// Whether [`Self::free_past`] is worth it.
    pub(super) fn can_free_past(&self, length: u64) -> bool {
        length < self.length() && self.is_writable() && !self.has_snapshots
    }

    /// The whole clusters past a new end that its last L2 table refers to.
    fn past_in_table(&self, length: u64) -> Range<u64> {
        let old = self.length();
        let start = length.next_multiple_of(self.cluster_size).min(old);
        start..length.next_multiple_of(self.table_reach()).min(old)
    }

    /// Frees what is past the new end, and then has the disk end there.
    fn shrink(&self, length: u64) -> Result<(), Errno> {
        loop {
            self.free_past(length)?;
            let _only = self.lock_flushes();
            let mut access = self.alone();
            // What the guest has written there meanwhile.
            let mut rest = self.past_in_table(length);
            while !rest.is_empty() {
                let next = self.drop_step(&mut access, rest.clone(), Becoming::Nothing, is_own)?;
                rest.start = next;
            }
            if self.cut_tables(&access, length.div_ceil(self.table_reach()))? {
                return self.set_size(&access, length);
            }
        }
    }

    /// Drops L2 tables, from one on, with what they refer to. Returns whether none is left.
    fn cut_tables(&self, access: &FormatAccess<Layer>, first: u64) -> Result<bool, Errno> {
        self.settle(access)?;
        self.top.give_back(true);
        let cut = self.top.cut_tables(first);
        self.top.give_back(false);
        // The library knows them still.
        self.forget_changed_tables(access)?;
        cut.map_err(|error| self.errno(&error))
    }

    /// Has the disk end elsewhere, without a change of anything else.
    fn set_size(&self, access: &FormatAccess<Layer>, length: u64) -> Result<(), Errno> {
        self.settle(access)?;
        let written = self.top.write_size(length);
        let read = self.forget_tables(access);
        // It is what the header says, which others read even if the medium does not have it yet.
        self.length.store(access.size(), Ordering::Release);
        match written.and(read) {
            Err(error) if access.size() == length => {
                tracing::error!("'{}' may not keep its new size: {error}", self.top);
                Ok(())
            }
            result => result.map_err(|error| self.errno(&error)),
        }
    }

    fn grow(&self, length: u64) -> Result<(), Errno> {
        let _only = self.lock_flushes();
        let mut access = self.alone();
        // A table that moves takes its entries with it, and what they lead to must be there.
        self.settle(&access)?;
        let old = access.size();
        let shown_end = self.hidden_end(&access, old)?.min(length);
        self.top.pin_size(Some(old));
        let result = self
            .grow_to(&mut access, shown_end, length)
            .and_then(|()| self.clear_tail(&access, old))
            .and_then(|()| self.settle(&access));
        self.top.pin_size(None);
        // All that the guest is to see there is written.
        let result = result.and_then(|()| self.set_size(&access, length));
        if result.is_err() {
            self.top.forget_held();
            self.forget_changed_tables(&access)?;
        }
        result
    }

    /// Has the library read tables anew that are others than those in its memory. It cannot be used
    /// after an error.
    fn forget_changed_tables(&self, access: &FormatAccess<Layer>) -> Result<(), Errno> {
        self.forget_tables(access).map_err(|error| {
            tracing::error!("'{}' cannot be used any more: {error}", self.top);
            self.broken.store(true, Ordering::Release);
            Errno::EIO
        })
    }

    /// The end of what would be seen in a longer disk: the bytes of a longer image under this one,
    /// and clusters that the last L2 table has from when the disk was longer. Other tables past the
    /// old end are dropped.
    fn hidden_end(&self, access: &FormatAccess<Layer>, old: u64) -> Result<u64, Errno> {
        let reach = self.table_reach();
        while !self.cut_tables(access, old.div_ceil(reach))? {
            self.settle(access)?;
            self.release(access)?;
        }
        let first = old.div_ceil(self.cluster_size) % (reach / self.cluster_size);
        let has_rest = !old.is_multiple_of(reach)
            && first > 0
            && self
                .top
                .has_entries(old / reach, first)
                .map_err(|error| self.errno(&error))?;
        let rest_end = match has_rest {
            true => old.next_multiple_of(reach),
            false => old,
        };
        let below = self.below_size.unwrap_or(0);
        Ok(rest_end.max(below.next_multiple_of(self.cluster_size)))
    }

    /// Makes the disk longer, with zeroes over what would be seen up to `shown_end`.
    fn grow_to(
        &self,
        access: &mut FormatAccess<Layer>,
        shown_end: u64,
        length: u64,
    ) -> Result<(), Errno> {
        let steps = [
            (shown_end, PreallocateMode::Zero),
            (length, PreallocateMode::None),
        ];
        for (end, mode) in steps {
            let old = access.size();
            if end > old {
                quietly(|| access.resize(end, mode))
                    .map_err(|error| self.errno_in(&error, access, old.saturating_sub(1), 1))?;
            }
        }
        Ok(())
    }

    /// Zeroes what the last cluster has beyond the disk's old end, now that the guest sees it.
    fn clear_tail(&self, access: &FormatAccess<Layer>, old: u64) -> Result<(), Errno> {
        let end = access.size().min(old.next_multiple_of(self.cluster_size));
        if old >= end {
            return Ok(());
        }
        let (mapping, _) = access
            .get_shallow_mapping(old, end - old)
            .map_err(|error| self.errno(&error))?;
        match mapping {
            ShallowMapping::Raw { .. } | ShallowMapping::Special { .. } => {
                self.write_zero_bytes(access, old, end)
            }
            _ => Ok(()),
        }
    }
}
