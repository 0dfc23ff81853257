//! Descriptors that no program inherits which this one would become.
#![expect(
    unsafe_code,
    reason = "descriptors that others own are marked by their numbers"
)]

use std::os::fd::{BorrowedFd, RawFd};
use std::{fs, io};

use rustix::io::{FdFlags, fcntl_setfd};

/// The first descriptor that is not one of the standard three.
const FIRST: RawFd = 3;

/// Marks every open descriptor but the standard ones to be closed by execve(2): those that the program was started with,
/// and those that libraries have made without the mark. What is opened later has it from the start.
///
/// # Errors
///
/// Without /proc.
pub fn close_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(number) = number.filter(|number| *number >= FIRST) else {
            continue;
        };
        // SAFETY: the number is only used to set a flag of whatever is open under it; if that has been closed since,
        // the kernel says so.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        // Another thread may have closed it.
        let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
    Ok(())
}
