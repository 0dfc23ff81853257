//! What `fvctl` itself writes to standard error, beside the command's.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people; the command's standard error is passed on as it is.
    Text,
    /// One JSON object a line, the command's standard error included.
    Json,
}

/// Whether standard error is where a line begins.
static AT_LINE_START: Mutex<bool> = Mutex::new(true);

/// Writes a line, on a line of its own. Standard error may be closed: then it is lost.
pub fn line(line: &str) {
    let mut at_line_start = AT_LINE_START.lock().unwrap_or_else(PoisonError::into_inner);
    let start = if *at_line_start { "" } else { "\n" };
    *at_line_start = true;
    let _ = writeln!(io::stderr().lock(), "{start}{line}");
}

/// Writes a message of `fvctl`'s: as text, or as the member of an object.
pub fn message(form: Form, member: &str, text: &str) {
    match form {
        Form::Text => line(&format!("fvctl: {text}")),
        Form::Json => object(member, &json!(text)),
    }
}

/// Writes a line of somebody else's: as it is, or as the member of an object.
pub fn passed_on(form: Form, member: &str, text: &str) {
    match form {
        Form::Text => line(text),
        Form::Json => object(member, &json!(text)),
    }
}

/// Writes an object with one member.
pub fn object(member: &str, value: &Value) {
    line(&json!({ member: value }).to_string());
}

/// Writes what the command wrote to its standard error.
///
/// # Errors
///
/// Standard error cannot be written.
pub fn command_errors(form: Form, bytes: &[u8]) -> io::Result<()> {
    if form == Form::Json {
        object("stderr", &json!(String::from_utf8_lossy(bytes)));
        return Ok(());
    }
    let mut at_line_start = AT_LINE_START.lock().unwrap_or_else(PoisonError::into_inner);
    *at_line_start = bytes.last().is_none_or(|byte| *byte == b'\n');
    let mut errors = io::stderr().lock();
    errors.write_all(bytes)?;
    errors.flush()
}
