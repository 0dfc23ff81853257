//! Output to the user.

use std::error::Error;
use std::io::{self, Write};

use faultvisor_tests::suite::chain;

/// Reports progress.
pub fn note(text: &str) {
    line(&format!("── {text}"));
}

/// Prints a result. A closed output, as with `head`, is no reason to stop.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints why a command failed.
pub fn error(error: &dyn Error) {
    // A write error can be reported nowhere else.
    let _ = writeln!(io::stderr(), "xtask: {}", chain(error));
}
