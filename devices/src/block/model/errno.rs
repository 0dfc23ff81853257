//! The host's errno for a disk request.

use std::{fmt, io};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// An errno of the host. Serialised as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Errno(pub i32);

impl<'de> Deserialize<'de> for Errno {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = i32::deserialize(from)?;
        // The range that a system call can return.
        if (1..=4095).contains(&number) {
            return Ok(Self(number));
        }
        Err(D::Error::custom(format!("{number} is no errno")))
    }
}

impl Errno {
    /// Input/output error: the medium failed, or the image ends before the disk does.
    pub const EIO: Self = Self(libc::EIO);
    /// No space left on device.
    pub const ENOSPC: Self = Self(libc::ENOSPC);
    /// File too large.
    pub const EFBIG: Self = Self(libc::EFBIG);

    /// The errno behind an error of the standard library; an error without one counts as an I/O
    /// error.
    pub fn of(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::EIO, Self)
    }

    /// The error of the standard library for this errno.
    pub(in crate::block) fn into_error(self) -> io::Error {
        io::Error::from_raw_os_error(self.0)
    }

    /// The result of a system call that returns a number of bytes.
    pub(in crate::block) fn check(returned: isize) -> Result<usize, Self> {
        usize::try_from(returned).map_err(|_| Self::of(&io::Error::last_os_error()))
    }
}

/// The text of `strerror`, without Rust's "(os error N)".
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_saved_as_its_number_and_only_one_that_there_is_is_restored() {
        let saved = serde_json::to_string(&Errno::ENOSPC).unwrap();
        assert_eq!(saved, libc::ENOSPC.to_string());
        assert_eq!(
            serde_json::from_str::<Errno>(&saved).unwrap(),
            Errno::ENOSPC
        );
        for number in ["0", "-5", "4096", "null"] {
            assert!(serde_json::from_str::<Errno>(number).is_err(), "{number}");
        }
    }

    #[test]
    fn an_errno_reads_as_strerror_says_it() {
        assert_eq!(Errno::ENOSPC.to_string(), "No space left on device");
        assert_eq!(Errno::EIO.to_string(), "Input/output error");
    }
}
