//! Why the host refused a disk request.

use std::{fmt, io};

/// An errno of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

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

    /// The error of the standard library that it is the errno of.
    pub(in crate::block) fn into_error(self) -> io::Error {
        io::Error::from_raw_os_error(self.0)
    }

    /// What a system call that counts bytes has returned.
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
    fn an_errno_reads_as_strerror_says_it() {
        assert_eq!(Errno::ENOSPC.to_string(), "No space left on device");
        assert_eq!(Errno::EIO.to_string(), "Input/output error");
    }
}
