//! What makes an image unusable while it is used, and who is told.

use std::io;

use imago::{FormatAccess, ShallowMapping};

use super::layer::Layer;
use super::metadata::Overlap;

/// Something in an image that cannot be (QEMU `BLOCK_IMAGE_CORRUPTED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// Which image: 0 is the guest's, 1 the one under it.
    pub depth: usize,
    /// What was found, for people.
    pub message: String,
    /// Where in the file, in bytes, if it is one place.
    pub offset: Option<u64>,
    /// How many bytes are meant, if that is known.
    pub length: Option<u64>,
    /// Whether the image is not used any more. It is of no consequence for one that is only read.
    pub fatal: bool,
}

impl Corruption {
    /// What an error of the library about that image tells of; nothing if it is not about what the
    /// image says.
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

/// Whether an error is about what an image says.
fn is_corruption(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.kind() == io::ErrorKind::InvalidData
}

/// Which image of a chain an error is about that came up in that range of the first. The library
/// passes on what it finds in those under it, and does not say where.
pub(super) fn depth_of(
    error: &io::Error,
    access: &FormatAccess<Layer>,
    range: std::ops::Range<u64>,
) -> usize {
    // Only what is written is looked after, and that is the first.
    let is_overlap = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Overlap>())
        .is_some();
    match is_corruption(error) && !is_overlap {
        true => corrupt_depth(access, range).unwrap_or(0),
        false => 0,
    }
}

/// How far down an image is whose tables make no sense for that range; nothing if all do.
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

/// Who is told that an image is corrupt. Called in the thread that found it, which it must not
/// hold up.
pub trait CorruptionObserver: Send + Sync {
    /// Something in an image cannot be. What is not fatal is told of once for each.
    fn image_corrupted(&self, corruption: &Corruption);
}
