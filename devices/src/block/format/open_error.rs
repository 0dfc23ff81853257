//! A path cannot be a disk.

use std::path::{Path, PathBuf};

use super::qcow2::error::FormatError;
use crate::block::host::image_error::ImageError;

/// A path cannot be a disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be opened as an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It was probed as a format that is not supported.
    #[error(
        "'{}' looks like an image in the format {format}, and only raw and qcow2 can be used (if the disk is to have \
        these bytes as they are, say that its format is raw)",
        path.display()
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// QEMU's name of the format.
        format: &'static str,
    },
    /// It is not valid in its format.
    #[error("'{}' {reason}", path.display())]
    Format {
        /// The path.
        path: PathBuf,
        /// The error.
        #[source]
        reason: FormatError,
    },
    /// A backing image cannot be used.
    #[error("backing file of '{}': {source}", of.display())]
    Backing {
        /// The path of the image that names it.
        of: PathBuf,
        /// The error.
        source: Box<OpenError>,
    },
}

impl OpenError {
    /// An image is in an unsupported format.
    pub fn foreign(path: &Path, format: &'static str) -> Self {
        Self::Foreign {
            path: path.to_owned(),
            format,
        }
    }

    /// An image is not valid in its format.
    pub(super) fn format(path: &Path, reason: FormatError) -> Self {
        Self::Format {
            path: path.to_owned(),
            reason,
        }
    }
}
