//! A shell that reads its lines from a file or a pipe.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::mpsc::channel;

use super::Ending;
use super::events::Dispatcher;
use super::interpreter::{Flow, Interpreter};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Output, on_one_line};
use crate::waiting;
use crate::words::{self, LineError};

/// Executes the lines of standard input to its end. A failed line is reported and the next one executed.
///
/// # Errors
///
/// The connection ends.
pub fn run(client: Client, output: Output) -> Result<Ending, Failure> {
    let client = Rc::new(client);
    let (sender, lines) = channel();
    let mut interpreter = Interpreter::new(Rc::clone(&client), output, sender);
    let show = |line: String| {
        // If the reader is gone, the next answer fails.
        let _ = output::write(&line);
    };
    // The next line that needs the connection reports its end.
    let dispatcher = Dispatcher::start(client.session().clone(), lines, show, drop)?;
    let ending = perform_lines(&mut interpreter);
    // Shows the events received so far.
    drop(dispatcher);
    if !matches!(&ending, Err(failure) if failure.is_end()) {
        interpreter.unwatch()?;
    }
    ending
}

fn perform_lines(interpreter: &mut Interpreter) -> Result<Ending, Failure> {
    let mut ending = Ending::Well;
    let mut lines = Lines::new();
    while let Some((number, line)) = lines.next()? {
        let performed = match line {
            Some(line) => interpreter.perform(&line),
            None => Err(Failure::Usage("not UTF-8".to_owned())),
        };
        match performed {
            Ok(Flow::Next) => {}
            Ok(Flow::Leave) => break,
            Err(failure) if failure.is_end() || failure.is_broken_pipe() => return Err(failure),
            Err(failure) => {
                ending = Ending::WithFailures;
                let said = failure.to_string();
                // A failed write to stderr has nowhere to be reported.
                let _ = writeln!(io::stderr(), "qmp: line {number}: {}", on_one_line(&said));
            }
        }
    }
    Ok(ending)
}

/// The lines of standard input.
struct Lines {
    input: BufReader<io::Stdin>,
    /// The number of lines read.
    read: usize,
}

impl Lines {
    fn new() -> Self {
        Self {
            input: BufReader::new(io::stdin()),
            read: 0,
        }
    }

    /// The next line with its number, joined with the lines that its JSON continues on. `None` at the end, or when the
    /// output's reader is gone. A line that is not UTF-8 has no text.
    fn next(&mut self) -> io::Result<Option<(usize, Option<String>)>> {
        let Some(first) = self.line()? else {
            return Ok(None);
        };
        let number = self.read;
        let Ok(mut line) = String::from_utf8(first) else {
            return Ok(Some((number, None)));
        };
        while words::split(&line) == Err(LineError::Bracket) {
            let Some(more) = self.line()? else { break };
            let Ok(more) = String::from_utf8(more) else {
                return Ok(Some((number, None)));
            };
            line.push('\n');
            line.push_str(&more);
        }
        Ok(Some((number, Some(line))))
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        while self.input.buffer().is_empty() {
            let ready = waiting::wait(&[self.input.get_ref().as_fd()], None)?;
            if ready.is_unread {
                return Ok(None);
            }
            if ready.inputs.contains(&true) {
                break;
            }
        }
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.read += 1;
        for end in [b'\n', b'\r'] {
            line.pop_if(|last| *last == end);
        }
        Ok(Some(line))
    }
}
