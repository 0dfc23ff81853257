//! The boundary to C: stops panics, and reports errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{ErrorSlot, Failure};

#[cfg(panic = "abort")]
compile_error!(
    "libqmp for C catches panics, so that none ends the program that uses it: build it with panic = \"unwind\""
);

/// Runs `work`. Returns `otherwise` if it panics, which is a bug of this library.
///
/// After a panic, what `work` uses is not used again, or safe Rust keeps it sound.
pub(crate) fn guard<R>(otherwise: R, work: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(payload) => {
            // Its drop may panic, too.
            std::mem::forget(payload);
            otherwise
        }
    }
}

/// Runs `work`. On failure reports the error to `error` and returns `otherwise`.
pub(crate) fn attempt<R>(
    error: &ErrorSlot,
    otherwise: R,
    work: impl FnOnce() -> Result<R, Failure>,
) -> R {
    match guard(Err(Failure::Panic), work) {
        Ok(done) => {
            error.clear();
            done
        }
        Err(failure) => {
            guard((), || error.set(&failure));
            otherwise
        }
    }
}
