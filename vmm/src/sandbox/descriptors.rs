//! Descriptors are not inherited by a program that this process might execute.
#![expect(
    unsafe_code,
    reason = "descriptors that others own are marked by their numbers"
)]

use std::os::fd::{BorrowedFd, RawFd};
use std::{fs, io};

use rustix::io::{FdFlags, fcntl_setfd};

/// The first descriptor after the standard three.
const FIRST: RawFd = 3;

/// Sets close-on-exec on every open descriptor but the standard three: those inherited, and those that libraries have
/// opened without it. Descriptors opened later have it from the start.
///
/// # Errors
///
/// The host's error: before Linux 5.11, which lacks the call, on a host without /proc.
pub fn close_on_exec() -> io::Result<()> {
    // SAFETY: the call sets a flag of open descriptors, and closes none.
    let result = unsafe {
        libc::close_range(
            FIRST.cast_unsigned(),
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC.cast_signed(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    one_by_one()
}

/// The same for each entry of the list of open descriptors.
fn one_by_one() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(number) = number.filter(|number| *number >= FIRST) else {
            continue;
        };
        // SAFETY: the number is only used to set a flag of whatever is open under it; if it has been closed since, the
        // kernel returns an error.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        // Another thread may have closed it.
        let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::io::fcntl_getfd;

    use super::*;

    #[test]
    fn inherited_descriptors_become_close_on_exec_either_way() {
        for mark in [close_on_exec, one_by_one] {
            let file = File::open("/dev/null").unwrap();
            fcntl_setfd(&file, FdFlags::empty()).unwrap();
            assert!(file.as_raw_fd() >= FIRST);
            mark().unwrap();
            assert_eq!(fcntl_getfd(file.as_fd()).unwrap(), FdFlags::CLOEXEC);
        }
    }
}
