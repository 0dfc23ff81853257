//! A shell whose lines come from a file or a pipe.

use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::sync::mpsc::channel;

use super::Ending;
use super::events::Dispatcher;
use super::interpreter::{Flow, Interpreter};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Output, on_one_line};

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
    for (index, line) in io::stdin().lock().lines().enumerate() {
        let performed = match line {
            Ok(line) => interpreter.perform(&line),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Failure::Usage("not UTF-8".to_owned()))
            }
            Err(error) => return Err(error.into()),
        };
        match performed {
            Ok(Flow::Next) => {}
            Ok(Flow::Leave) => break,
            Err(failure) if failure.is_end() || failure.is_broken_pipe() => return Err(failure),
            Err(failure) => {
                ending = Ending::WithFailures;
                let said = failure.to_string();
                // There is no better place to say it.
                let _ = writeln!(
                    io::stderr(),
                    "qmp: line {}: {}",
                    index + 1,
                    on_one_line(&said)
                );
            }
        }
    }
    Ok(ending)
}
