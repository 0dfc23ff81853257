//! Writes answers and events, for people and for programs.

mod escape;
mod event;
mod flat;
mod json;
mod table;
mod time;

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

pub use escape::on_one_line;
pub use event::EventLine;

/// The format of answers and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A table on a terminal if the value suits one, otherwise JSON on several lines.
    #[default]
    Automatic,
    /// JSON on one line.
    Json,
    /// JSON on several lines.
    Pretty,
    /// A table.
    Table,
}

/// Where answers are written, and how.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    form: Form,
    is_terminal: bool,
    /// The terminal's columns, if it is one.
    width: Option<usize>,
}

impl Output {
    /// Standard output, with its current width.
    #[must_use]
    pub fn standard(form: Form) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let width = size
            .map(|size| usize::from(size.ws_col))
            .filter(|width| is_terminal && *width > 0);
        Self {
            form,
            is_terminal,
            width,
        }
    }

    /// An answer as text, with a newline at the end. Empty if there is nothing to show.
    #[must_use]
    pub fn answer(&self, value: &Value) -> String {
        match self.form {
            Form::Json => json::compact(value),
            Form::Pretty => json::pretty(value),
            Form::Table => table::table(value, self.width),
            Form::Automatic if self.is_terminal && table::suits(value) => {
                table::table(value, self.width)
            }
            Form::Automatic => json::pretty(value),
        }
    }

    /// An event as text, with a newline at the end.
    #[must_use]
    pub fn event(&self, event: &EventLine<'_>) -> String {
        match self.form {
            Form::Json => json::compact(&event.to_json()),
            Form::Pretty => json::pretty(&event.to_json()),
            Form::Automatic | Form::Table => event.to_line(),
        }
    }
}

/// Writes text to standard output, and flushes it.
///
/// # Errors
///
/// The write fails.
pub fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_terminal_gets_tables_of_objects_and_json_otherwise() {
        let terminal = Output {
            form: Form::Automatic,
            is_terminal: true,
            width: Some(80),
        };
        assert_eq!(
            terminal.answer(&json!({"running": true})),
            "running  true\n"
        );
        assert_eq!(terminal.answer(&json!({})), "");
        assert_eq!(terminal.answer(&json!(7)), "7\n");
        assert_eq!(terminal.answer(&json!([1])), "[\n  1\n]\n");
        let file = Output {
            is_terminal: false,
            width: None,
            ..terminal
        };
        assert_eq!(file.answer(&json!({"a": 1})), "{\n  \"a\": 1\n}\n");
        assert_eq!(file.answer(&json!({})), "{}\n");
        let json = Output {
            form: Form::Json,
            ..terminal
        };
        assert_eq!(json.answer(&json!({"a": [1, 2]})), "{\"a\":[1,2]}\n");
    }
}
