//! `fvctl run` and `fvctl shell`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use faultvisor_harness::Machine;
use faultvisor_harness::guest::Guest;
use faultvisor_harness::guest::output::Status;
use serde_json::json;

use crate::events::{Form, Reporter};
use crate::execution::{self, Streams};
use crate::failure::Failure;
use crate::lab::{self, LabCommand};
use crate::options::{CommandOptions, RunOptions, ShellOptions};
use crate::{keeping, kept, machine};

/// What a shell is, unless the guest's user has another.
const SHELL: &str = "/bin/sh";

/// Runs a command; its exit status.
///
/// # Errors
///
/// There is no such guest, it does not start, or it ends before the command does.
pub fn run(options: &RunOptions) -> Result<u8, Failure> {
    if options.machine.lab
        && (options.keep.is_some() || options.kept.is_some() || options.interactive)
    {
        return Err(Failure::Usage(
            "--lab: a guest there cannot be kept, and has no standard input without --tty"
                .to_owned(),
        ));
    }
    let streams = match (options.tty, options.interactive) {
        (true, _) => Streams::Terminal,
        (false, true) => Streams::Input,
        (false, false) => Streams::Output,
    };
    let form = if options.json { Form::Json } else { Form::Text };
    let command = execution::command(&options.words, &options.command, streams);
    let started = Instant::now();
    let status = if let Some(name) = options.kept.as_ref().or(options.keep.as_ref()) {
        if options.keep.is_some() {
            keeping::start(name, &options.machine, &options.words)?;
        }
        let addresses = kept::find(name)?;
        let guest = keeping::guest(&addresses);
        reported(&addresses.qmp, form, || {
            execution::execute(&guest, command, streams)
        })?
    } else {
        let boot = machine::prepare(&options.machine, &options.words)?;
        if options.machine.lab {
            return lab::run(
                &boot,
                &LabCommand {
                    machine: &options.machine,
                    command: &options.command,
                    has_terminal: options.tty,
                    is_json: options.json,
                    words: &options.words,
                },
            );
        }
        let machine = machine::start(&options.machine, &boot)?;
        let status = reported(&machine.socket(), form, || {
            machine::wait_for_agent(&machine)?;
            execution::execute(machine.guest()?, command, streams)
        })?;
        end(machine, options.machine.verbose)?;
        status
    };
    if form == Form::Json {
        let line = json!({ "result": {
            "status": status.code(),
            "signal": if let Status::Signaled(signal) = status { Some(signal) } else { None },
            "timed-out": status == Status::TimedOut,
            "seconds": started.elapsed().as_secs_f64(),
        }});
        // Standard error may be closed.
        let _ = writeln!(io::stderr(), "{line}");
    }
    Ok(exit_status(status))
}

/// Runs an interactive shell; its exit status.
///
/// # Errors
///
/// There is no such guest, it does not start, or it ends before the shell does.
pub fn shell(options: &ShellOptions) -> Result<u8, Failure> {
    let words = vec![SHELL.to_owned()];
    let in_shell = |guest: &Guest| {
        let surroundings = CommandOptions::default();
        let command = execution::command(&words, &surroundings, Streams::Terminal);
        execution::execute(guest, command, Streams::Terminal)
    };
    let status = if let Some(name) = &options.name {
        in_shell(&keeping::guest(&kept::find(name)?))?
    } else {
        let boot = machine::prepare(&options.machine, &words)?;
        if options.machine.lab {
            return lab::run(
                &boot,
                &LabCommand {
                    machine: &options.machine,
                    command: &CommandOptions::default(),
                    has_terminal: true,
                    is_json: false,
                    words: &words,
                },
            );
        }
        let machine = machine::start(&options.machine, &boot)?;
        machine::wait_for_agent(&machine)?;
        let status = in_shell(machine.guest()?)?;
        machine.quit()?;
        status
    };
    Ok(exit_status(status))
}

/// Ends a machine, and writes what it has warned of, such as a rule that never fired, unless it was shown already.
fn end(machine: Machine, was_shown: bool) -> Result<(), Failure> {
    let messages = machine.messages().clone();
    machine.quit()?;
    let text = messages.text();
    for line in text.lines().filter(|_| !was_shown) {
        let level = [" WARN ", " ERROR "]
            .into_iter()
            .find(|level| line.contains(level));
        let warning = level.and_then(|level| Some(line.split_once(level)?.1));
        if let Some(warning) = warning {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "fvctl: {warning}");
        }
    }
    Ok(())
}

/// Does something while events are reported, also those that its failure follows from.
fn reported<T>(
    socket: &Path,
    form: Form,
    run: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let reporter = Reporter::start(socket, form)?;
    let result = run();
    reporter.finish();
    result
}

fn exit_status(status: Status) -> u8 {
    u8::try_from(status.shell_code()).unwrap_or(u8::MAX)
}
