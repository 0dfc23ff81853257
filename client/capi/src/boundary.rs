//! The border to C: no panic crosses it, and what fails in Rust is an error there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{ErrorSlot, Failure};

#[cfg(panic = "abort")]
compile_error!(
    "libqmp for C catches panics, so that none ends the program that uses it: build it with panic = \"unwind\""
);

/// Does `work`; where it panics, which is a mistake in this library, `otherwise` is returned.
///
/// What `work` uses is not used again after a panic, or is sound in any state that safe Rust leaves it in.
pub(crate) fn guard<R>(otherwise: R, work: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(payload) => {
            // It may panic itself when it is dropped.
            std::mem::forget(payload);
            otherwise
        }
    }
}

/// Does `work`, and puts into `error` what fails; then `otherwise` is returned.
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
