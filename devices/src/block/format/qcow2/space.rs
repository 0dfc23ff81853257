//! Discards and zeroes: what becomes of the clusters under them.

use std::io;
use std::ops;

use imago::{FormatAccess, ShallowMapping};

use super::disk::{Qcow2Image, quietly};
use super::layer::Layer;
use crate::block::engine::step::bounce_buffer;
use crate::block::engine::thread_pool::Medium;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, Range, Zeroing};

/// Clusters that are dropped at a time: nothing else is done meanwhile.
const STEP: u64 = 16 << 10;

/// What dropped clusters read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becoming {
    /// Zeroes, whatever is under the image.
    Zeroes,
    /// What is under the image, or zeroes.
    Nothing,
}

impl Qcow2Image {
    pub(super) fn discard(&self, ranges: &[Range]) -> Result<(), Errno> {
        let Capabilities {
            discard: Some(_), ..
        } = self.capabilities()
        else {
            return Ok(());
        };
        for range in ranges {
            of_hint(self.drop_clusters(range.offset..range.end(), self.zeroes(), is_seen))?;
        }
        Ok(())
    }

    /// What a dropped cluster becomes so that it reads as zeroes.
    fn zeroes(&self) -> Becoming {
        match self.version {
            // There are only the clusters that the image has, and nothing is under it.
            ..3 => Becoming::Nothing,
            _ => Becoming::Zeroes,
        }
    }

    /// Drops the whole clusters of a range, as far as `is_used` says of what is there.
    pub(super) fn drop_clusters(
        &self,
        mut range: ops::Range<u64>,
        becoming: Becoming,
        is_used: fn(&ShallowMapping<'_, Layer>) -> bool,
    ) -> Result<(), Errno> {
        while !range.is_empty() {
            let mut access = self.alone();
            range.start = self.drop_step(&mut access, range.clone(), becoming, is_used)?;
            drop(access);
            if self.top.is_full() {
                self.flush_and_release()?;
            }
            self.give_way()?;
        }
        Ok(())
    }

    /// Drops the first of them, and returns where the rest begins.
    pub(super) fn drop_step(
        &self,
        access: &mut FormatAccess<Layer>,
        range: ops::Range<u64>,
        becoming: Becoming,
        is_used: fn(&ShallowMapping<'_, Layer>) -> bool,
    ) -> Result<u64, Errno> {
        let errno = |error: io::Error| self.errno(&error);
        let used = part(access, range, is_used).map_err(errno)?;
        if used.is_empty() {
            return Ok(used.end);
        }
        let step = used.start / self.cluster_size * self.cluster_size + STEP * self.cluster_size;
        let end = used.end.min(step);
        let length = end - used.start;
        // What the file does not lead to yet could not be seen to be dropped.
        quietly(|| access.flush()).map_err(errno)?;
        let dropped = quietly(|| match becoming {
            Becoming::Zeroes => access.discard_to_any(used.start, length),
            Becoming::Nothing => access.discard_to_backing(used.start, length),
        });
        self.top.give_back(true);
        let written = quietly(|| access.flush());
        self.top.give_back(false);
        dropped.and(written).map_err(errno)?;
        Ok(end)
    }

    pub(super) fn write_zeroes(&self, ranges: &[Range], zeroing: Zeroing) -> Result<(), Errno> {
        for range in ranges {
            let (start, end) = (range.offset, range.end());
            // The rest of the last cluster is nobody's.
            let whole_end = match end == self.length() {
                true => end,
                false => end / self.cluster_size * self.cluster_size,
            };
            let whole_start = start.next_multiple_of(self.cluster_size).min(whole_end);
            let unmaps = zeroing == Zeroing::MayUnmap && self.capabilities().unmaps;
            if whole_start >= whole_end || (self.version < 3 && !unmaps) {
                self.write_zero_bytes(&self.shared(), start, end)?;
                continue;
            }
            self.write_zero_bytes(&self.shared(), start, whole_start)?;
            if unmaps {
                self.drop_clusters(whole_start..whole_end, self.zeroes(), is_seen)?;
            } else {
                self.zero_clusters(whole_start..whole_end)?;
            }
            self.write_zero_bytes(&self.shared(), whole_end, end)?;
        }
        Ok(())
    }

    /// Lets clusters read as zeroes that do not, and keeps their places.
    fn zero_clusters(&self, mut range: ops::Range<u64>) -> Result<(), Errno> {
        let errno = |error: io::Error| self.errno(&error);
        let access = self.shared();
        while !range.is_empty() {
            let used = part(&access, range.clone(), is_seen).map_err(errno)?;
            range.start = used.end;
            if !used.is_empty() {
                quietly(|| access.write_zeroes(used.start, used.end - used.start))
                    .map_err(errno)?;
            }
        }
        Ok(())
    }

    pub(super) fn write_zero_bytes(
        &self,
        access: &FormatAccess<Layer>,
        mut start: u64,
        end: u64,
    ) -> Result<(), Errno> {
        while start < end {
            let zeroes = bounce_buffer(end - start);
            self.write(access, start, &zeroes)?;
            start += zeroes.length();
        }
        Ok(())
    }
}

/// Whether the guest can see something there: data, or an image under this one. The library would
/// add tables for the rest, to say that nothing is there.
pub(super) fn is_seen(mapping: &ShallowMapping<'_, Layer>) -> bool {
    !matches!(
        mapping,
        ShallowMapping::Zero {
            explicit: false,
            ..
        }
    )
}

/// Whether the image itself has something there.
pub(super) fn is_own(mapping: &ShallowMapping<'_, Layer>) -> bool {
    is_seen(mapping) && !matches!(mapping, ShallowMapping::Indirect { .. })
}

/// The first part of a range of which `is_used` is true.
pub(super) fn part(
    access: &FormatAccess<Layer>,
    range: ops::Range<u64>,
    is_used: fn(&ShallowMapping<'_, Layer>) -> bool,
) -> io::Result<ops::Range<u64>> {
    let mut used = range.start..range.start;
    while used.end < range.end {
        let (mapping, count) = access.get_shallow_mapping(used.end, range.end - used.end)?;
        let is_used = is_used(&mapping);
        if !is_used && !used.is_empty() {
            break;
        }
        used.end = match count {
            // The disk ends here, which is for the library to say.
            0 => range.end,
            count => used.end + count,
        };
        if !is_used {
            used.start = used.end;
        }
    }
    Ok(used)
}

/// How a discard ends that ended so. It asks for nothing that the guest would notice, so a host
/// that has no space to note it is no reason to stop a machine.
fn of_hint(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::ENOSPC) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_space_fails_no_discard() {
        assert_eq!(of_hint(Err(Errno::ENOSPC)), Ok(()));
        assert_eq!(of_hint(Err(Errno::EIO)), Err(Errno::EIO));
    }
}
