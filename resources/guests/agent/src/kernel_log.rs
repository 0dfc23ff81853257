//! Lines in the kernel's log.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// Writes a line, as a warning of the agent's. Before the log is there, it is lost.
pub fn say(line: &str) {
    let _ = write("<4>", &format!("faultvisor-agent: {line}"));
}

/// Writes a mark.
///
/// # Errors
///
/// The log cannot be written to.
pub fn mark(text: &str) -> io::Result<()> {
    write("<5>", &format!("faultvisor: mark: {text}"))
}

fn write(level: &str, line: &str) -> io::Result<()> {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg")?;
    // One write is one line.
    log.write_all(format!("{level}{line}\n").as_bytes())
}
