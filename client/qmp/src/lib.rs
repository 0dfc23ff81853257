//! `qmp`, the command-line client of QMP servers.
//!
//! The server's `introspection` tells which arguments a command takes. So the commands of every server, a later version or
//! QEMU included, can be typed as `key=value` (`arguments`) and completed (`completion`, `command_line`). `output` writes
//! the answers. A `client` is a session with its server's introspection; `watch` and `shell` use one.

mod arguments;
mod client;
mod command_line;
mod completion;
mod failure;
mod help;
mod introspection;
mod options;
mod output;
mod request;
pub mod scripts;
mod shell;
mod suggestion;
mod waiting;
mod watch;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use client::{Band, Client};
use failure::Failure;
use options::{Mode, Options};
use request::Request;
use shell::Ending;

/// The definition of the command line, for manuals and shell completions.
#[must_use]
pub fn command() -> clap::Command {
    Options::command()
}

/// Executes a command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // A failed write to stderr has nowhere to be reported.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match perform(&options) {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::WithFailures) => ExitCode::FAILURE,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            let said = failure.to_string();
            let _ = writeln!(io::stderr(), "qmp: {}", output::on_one_line(&said));
            ExitCode::from(failure.status())
        }
    }
}

fn perform(options: &Options) -> Result<Ending, Failure> {
    let (connection, output) = (&options.connection, options.form.output());
    match &options.mode {
        None => {
            if let Some(mut request) = Request::from_words(&options.words)? {
                if options.oob {
                    request.band = Band::OutOf;
                }
                let answer = Client::connect(connection)?.request(request)?;
                output::write(&output.answer(&answer))?;
                return Ok(Ending::Well);
            }
            let (command, words) = options.words.split_first().ok_or_else(|| {
                // clap refuses a command line without one.
                Failure::Usage("a command is missing".to_owned())
            })?;
            let band = if options.oob { Band::OutOf } else { Band::In };
            let answer = Client::connect(connection)?.execute(command, words, band)?;
            output::write(&output.answer(&answer))?;
        }
        Some(Mode::Watch(watch)) => watch::run(watch, connection, &output)?,
        Some(Mode::Complete { line }) => {
            let candidates = command_line::candidates(line, connection);
            let lines = candidates.iter().map(|candidate| format!("{candidate}\n"));
            output::write(&lines.collect::<String>())?;
        }
        Some(Mode::Shell) => return shell::run(connection, output),
        Some(Mode::Help { name }) => {
            let client = Client::connect(connection)?;
            let introspection = client.introspection()?;
            output::write(&match name {
                Some(name) => help::about(introspection, name).map_err(Failure::Usage)?,
                None => help::overview(introspection),
            })?;
        }
    }
    Ok(Ending::Well)
}
