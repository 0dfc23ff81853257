//! The shell: commands line by line.
//!
//! Events arrive while a line is read, so a thread of its own dispatches them; it shares the session with the commands.
//! Event handlers do not write: the session would wait for the terminal.

mod builtin;
mod editing;
mod events;
mod history;
mod interpreter;
mod presence;
mod script;
mod terminal;

use std::io::{self, IsTerminal};

use crate::client::Client;
use crate::failure::Failure;
use crate::options::ConnectionOptions;
use crate::output::Output;

/// How a shell ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By its user, or at the end of its input.
    Well,
    /// At the end of its input, after some lines have failed with an error.
    WithFailures,
}

/// Executes the lines of standard input.
///
/// # Errors
///
/// There is no server, or the connection has ended.
pub fn run(connection: &ConnectionOptions, output: Output) -> Result<Ending, Failure> {
    let client = Client::connect(connection)?;
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        terminal::run(client, output)
    } else {
        script::run(client, output)
    }
}
