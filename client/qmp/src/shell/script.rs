//! A shell whose lines come from a file or a pipe.

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

/// Executes lines of standard input to its end; one that fails is told, and not the last.
///
/// # Errors
///
/// The connection ends.
pub fn run(client: Client, output: Output) -> Result<Ending, Failure> {
    let client = Rc::new(client);
    let (sender, lines) = channel();
    let mut interpreter = Interpreter::new(Rc::clone(&client), output, sender);
    let show = |line: String| {
        // Where nobody reads, the next answer fails.
        let _ = output::write(&line);
    };
    // That the connection has ended is told by the next line that needs it.
    let dispatcher = Dispatcher::start(client.session().clone(), lines, show, drop)?;
    let ending = perform_lines(&mut interpreter);
    // First what has come is shown.
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
                // There is no better place to say it.
                let _ = writeln!(io::stderr(), "qmp: line {number}: {}", on_one_line(&said));
            }
        }
    }
    Ok(ending)
}

/// The lines of standard input.
struct Lines {
    input: BufReader<io::Stdin>,
    /// How many were read.
    read: usize,
}

impl Lines {
    fn new() -> Self {
        Self {
            input: BufReader::new(io::stdin()),
            read: 0,
        }
    }

    /// The next line and its number, with the lines behind it that its JSON goes on in; none at the end, which is also
    /// where nobody reads what is answered any more. Without a text for one that is not UTF-8.
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
