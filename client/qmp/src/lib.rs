//! `qmp`, the command-line client of QMP servers.
//!
//! What a command takes is known from the server itself (`introspection`), so that every server's commands can be typed
//! as `key=value` (`arguments`) and completed (`completion`, `command_line`), those of a later version and of QEMU included. What comes
//! back is written by `output`. A `client` is a session with what is known of its server; `watch` and `shell` are what
//! can be done with one beside executing a command.

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

/// The definition of the command line, for manuals and for shells' completions.
#[must_use]
pub fn command() -> clap::Command {
    Options::command()
}

/// Does what a command line asks for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // There is no better place to say it.
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
                // The command line is refused without one.
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
