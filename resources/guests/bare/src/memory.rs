//! The C library functions that compilers call, and access to memory shared with a device.

use core::arch::asm;

/// Reads memory or a register that a device may write.
///
/// # Safety
///
/// `address` must be mapped, and aligned for `T`.
pub unsafe fn load<T: Copy>(address: u64) -> T {
    // SAFETY: the caller's.
    unsafe { (address as *const T).read_volatile() }
}

/// Writes memory that a device may read.
///
/// # Safety
///
/// `address` must be mapped, aligned for `T`, and nothing that the compiler knows of.
pub unsafe fn store<T: Copy>(address: u64, value: T) {
    // SAFETY: the caller's.
    unsafe { (address as *mut T).write_volatile(value) };
}

/// Copies forwards.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe {
        asm!("rep movsb", inout("rdi") to => _, inout("rsi") from => _, inout("rcx") count => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Copies, also between ranges that overlap.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: the caller's; copying forwards is right here.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: the caller's; the direction flag is restored.
    unsafe {
        asm!("std", "rep movsb", "cld",
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _,
            inout("rcx") count => _, options(nostack));
    }
    to
}

/// Fills.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe {
        asm!("rep stosb", inout("rdi") to => _, in("al") value.to_le_bytes()[0],
            inout("rcx") count => _, options(nostack, preserves_flags));
    }
    to
}

/// Compares.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: the caller's. Volatile, so that the compiler does not turn the loop into a call of this function.
        let [left, right] = unsafe { [left, right].map(|start| start.add(index).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// Compares for equality.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe { memcmp(left, right, count) }
}
