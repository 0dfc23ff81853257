//! Signals that this process was started to ignore.

#![allow(
    unsafe_code,
    reason = "a signal's disposition is set by an unsafe function, as for a handler"
)]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Signals that who starts programs in the background lets them ignore, as a shell does with `&`.
const IGNORED: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
];

/// Puts them back, as what is ignored stays so in the programs that this process starts: their terminals' keys would do
/// nothing.
pub fn restore() {
    for number in IGNORED {
        // SAFETY: the default disposition runs no code of this process.
        let restored = unsafe { signal(number, SigHandler::SigDfl) };
        // It cannot fail: the number is a signal's.
        let _ = restored;
    }
}
