//! Resources of the operating system that C passes: file descriptors, and a program's arguments.

#![allow(
    unsafe_code,
    reason = "the number of a descriptor and a list that ends with NULL are C's word for it"
)]

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use crate::conversion::InvalidArgument;

/// A descriptor that C transfers.
#[derive(Debug)]
#[repr(transparent)]
pub struct GivenFd(c_int);

impl GivenFd {
    /// Takes ownership. A descriptor that is not open is refused.
    ///
    /// # Safety
    ///
    /// If the descriptor is open, nothing else uses it from now on.
    pub(crate) unsafe fn take(self, name: &str) -> Result<OwnedFd, InvalidArgument> {
        let refused = || InvalidArgument::new(name, format!("is {}, which is not open", self.0));
        if self.0 < 0 {
            return Err(refused());
        }
        // SAFETY: only passed to a call that tells whether the descriptor is open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.0) };
        rustix::io::fcntl_getfd(fd).map_err(|_| refused())?;
        // SAFETY: it is open, and the caller promises to transfer it.
        Ok(unsafe { OwnedFd::from_raw_fd(self.0) })
    }
}

/// A program and its arguments: strings up to a `NULL`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct ArgumentVector(*const *const c_char);

impl ArgumentVector {
    /// The strings.
    pub(crate) fn iter(&self, name: &str) -> Result<impl Iterator<Item = &CStr>, InvalidArgument> {
        if self.0.is_null() {
            return Err(InvalidArgument::null(name));
        }
        let at = |index| {
            // SAFETY: entries before the NULL are strings, and none behind it is read.
            unsafe {
                let argument = *self.0.add(index);
                (!argument.is_null()).then(|| CStr::from_ptr(argument))
            }
        };
        let mut index = 0;
        Ok(std::iter::from_fn(move || {
            let argument = at(index)?;
            index += 1;
            Some(argument)
        }))
    }
}
