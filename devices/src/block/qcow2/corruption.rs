//! What makes an image unusable while it is used, and who is told.

use std::io;

use super::metadata::Overlap;

/// Something in an image that cannot be (QEMU `BLOCK_IMAGE_CORRUPTED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
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
    /// What an error of the library tells of; nothing if it is not about what the image says.
    pub(super) fn of(error: &io::Error, fatal: bool) -> Option<Self> {
        if error.raw_os_error().is_some() || error.kind() != io::ErrorKind::InvalidData {
            return None;
        }
        let overlap = error.get_ref().and_then(|e| e.downcast_ref::<Overlap>());
        Some(Self {
            message: error.to_string(),
            offset: overlap.map(|overlap| overlap.offset),
            length: overlap.map(|overlap| overlap.length),
            fatal,
        })
    }
}

/// Who is told that an image is corrupt. Called in the thread that found it, which it must not
/// hold up.
pub trait CorruptionObserver: Send + Sync {
    /// Something in the image cannot be. What is not fatal is told of once.
    fn image_corrupted(&self, corruption: &Corruption);
}
