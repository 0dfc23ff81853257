//! Corruption that is found while an image is in use, and its report.

use std::io;

use imago::{FormatAccess, ShallowMapping};

use super::layer::Layer;
use super::metadata::Overlap;

/// Corrupt metadata of an image (QEMU `BLOCK_IMAGE_CORRUPTED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The image: 0 is the guest's, 1 its backing image.
    pub depth: usize,
    /// A description, for people.
    pub message: String,
    /// The offset in the file in bytes, if it is one place.
    pub offset: Option<u64>,
    /// The number of bytes concerned, if it is known.
    pub length: Option<u64>,
    /// Whether the image is no longer used. Not fatal for one that is only read.
    pub fatal: bool,
}

impl Corruption {
    /// The corruption that an error of the library reports about this image; `None` if the error is not about its
    /// metadata.
    pub(super) fn of(error: &io::Error, depth: usize, fatal: bool) -> Option<Self> {
        if !is_corruption(error) {
            return None;
        }
        let overlap = error.get_ref().and_then(|e| e.downcast_ref::<Overlap>());
        Some(Self {
            depth,
            message: error.to_string(),
            offset: overlap.map(|overlap| overlap.offset),
            length: overlap.map(|overlap| overlap.length),
            fatal,
        })
    }
}

/// Whether an error is about an image's metadata.
fn is_corruption(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.kind() == io::ErrorKind::InvalidData
}

/// The image of a chain that an error in this range of the first concerns. The library passes on errors from backing
/// images, and does not say whose they are.
pub(super) fn depth_of(
    error: &io::Error,
    access: &FormatAccess<Layer>,
    range: std::ops::Range<u64>,
) -> usize {
    // Only the written image is guarded, which is the first.
    let is_overlap = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Overlap>())
        .is_some();
    match is_corruption(error) && !is_overlap {
        true => corrupt_depth(access, range).unwrap_or(0),
        false => 0,
    }
}

/// The depth of the image whose tables are invalid for this range; `None` if all are valid.
fn corrupt_depth(access: &FormatAccess<Layer>, range: std::ops::Range<u64>) -> Option<usize> {
    let mut offset = range.start;
    while offset < range.end {
        let (mapping, count) = match access.get_shallow_mapping(offset, range.end - offset) {
            Ok(found) => found,
            Err(error) => return is_corruption(&error).then_some(0),
        };
        if count == 0 {
            return None;
        }
        if let ShallowMapping::Indirect {
            layer,
            offset: start,
            ..
        } = mapping
            && let Some(depth) = corrupt_depth(layer, start..start.saturating_add(count))
        {
            return Some(depth + 1);
        }
        offset = offset.saturating_add(count);
    }
    None
}

/// Receives reports of corruption, in the thread that found it, which it must not delay.
pub trait CorruptionObserver: Send + Sync {
    /// Reports corruption. One that is not fatal is reported once for each image.
    fn image_corrupted(&self, corruption: &Corruption);
}
