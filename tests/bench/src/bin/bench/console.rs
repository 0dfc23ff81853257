//! What the user sees.

use std::error::Error;
use std::io::{self, Write};

use faultvisor_tests::suite::chain;

/// Says what is being done.
pub fn note(text: &str) {
    line(&format!("── {text}"));
}

/// Prints a result. A reader that has gone away, such as `head`, is no reason to stop working.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Says why a command cannot be done.
pub fn error(error: &dyn Error) {
    // There is no better place if this fails too.
    let _ = writeln!(io::stderr(), "xtask: {}", chain(error));
}
