//! Commands line by line.
//!
//! Events come while a line is awaited, so a thread of its own dispatches them. A command that is executed meanwhile
//! shares the session with it. Nothing is written from within an event's handler, which would make the session wait for
//! the terminal.

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

/// How a shell has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By its user, or at the end of its input.
    Well,
    /// At the end of its input, and some lines have failed; why was said.
    WithFailures,
}

/// Executes lines of standard input.
///
/// # Errors
///
/// There is no server, or it has gone.
pub fn run(connection: &ConnectionOptions, output: Output) -> Result<Ending, Failure> {
    let client = Client::connect(connection)?;
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        terminal::run(client, output)
    } else {
        script::run(client, output)
    }
}
