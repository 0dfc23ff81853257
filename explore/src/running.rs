//! `fvctl run` and `fvctl shell`.

use std::path::Path;
use std::time::Instant;

use faultvisor_harness::Machine;
use faultvisor_harness::guest::output::Status;
use serde_json::{Value, json};

use crate::events::Reporter;
use crate::execution::{Execution, Streams};
use crate::failure::Failure;
use crate::interruption::Interruption;
use crate::lab::{self, LabCommand};
use crate::options::{CommandOptions, MachineOptions, RunOptions, ShellOptions};
use crate::report::{self, Form};
use crate::{keeping, kept, machine};

/// What a shell is, unless the guest's user has another.
const SHELL: &str = "/bin/sh";

/// Runs a command; its exit status.
///
/// # Errors
///
/// There is no such guest, it does not start, or it ends before the command does.
pub fn run(options: &RunOptions) -> Result<u8, Failure> {
    if options.machine.lab && options.interactive {
        return Err(Failure::Usage(
            "--lab: a command there has no standard input without --tty".to_owned(),
        ));
    }
    let form = if options.json { Form::Json } else { Form::Text };
    let started = Instant::now();
    let interruption = Interruption::catch()?;
    let ran = run_in(options, form, &interruption).map_err(|error| explained(error, &interruption));
    // The lab's own fvctl has written the result.
    if form == Form::Json && !matches!(ran, Ok(Ran::InLab(_))) {
        report::object("result", &result(&ran, started));
    }
    match ran? {
        Ran::Here(status) => Ok(exit_status(status)),
        Ran::InLab(status) => Ok(status),
    }
}

/// How a command ended.
enum Ran {
    Here(Status),
    InLab(u8),
}

fn run_in(options: &RunOptions, form: Form, interruption: &Interruption) -> Result<Ran, Failure> {
    let streams = match (options.tty, options.interactive) {
        (true, _) => Streams::Terminal,
        (false, true) => Streams::Input,
        (false, false) => Streams::Output,
    };
    let execution = Execution::new(&options.words, &options.command, streams, form);
    if let Some(name) = options.kept.as_ref().or(options.keep.as_ref()) {
        if options.keep.is_some() {
            keeping::start(name, &options.machine, &options.words)?;
        }
        let addresses = kept::find(name)?;
        let guest = keeping::guest(&addresses);
        let run = || execution.run(&guest, interruption);
        return reported(&addresses.qmp, form, run).map(Ran::Here);
    }
    let boot = machine::prepare(&options.machine, &options.words)?;
    if options.machine.lab {
        let command = LabCommand {
            machine: &options.machine,
            command: &options.command,
            has_terminal: options.tty,
            is_json: options.json,
            words: &options.words,
        };
        let status = lab::run(&boot, &command, interruption);
        return status.map(Ran::InLab);
    }
    let status = in_machine(&options.machine, &boot, form, execution, interruption);
    status.map(Ran::Here)
}

/// Runs an interactive shell; its exit status.
///
/// # Errors
///
/// There is no such guest, it does not start, or it ends before the shell does.
pub fn shell(options: &ShellOptions) -> Result<u8, Failure> {
    let interruption = Interruption::catch()?;
    shell_in(options, &interruption).map_err(|error| explained(error, &interruption))
}

fn shell_in(options: &ShellOptions, interruption: &Interruption) -> Result<u8, Failure> {
    let words = vec![SHELL.to_owned()];
    let surroundings = CommandOptions::default();
    let execution = Execution::new(&words, &surroundings, Streams::Terminal, Form::Text);
    if let Some(name) = &options.name {
        let guest = keeping::guest(&kept::find(name)?);
        return execution.run(&guest, interruption).map(exit_status);
    }
    let boot = machine::prepare(&options.machine, &words)?;
    if options.machine.lab {
        let command = LabCommand {
            machine: &options.machine,
            command: &surroundings,
            has_terminal: true,
            is_json: false,
            words: &words,
        };
        return lab::run(&boot, &command, interruption);
    }
    let status = in_machine(&options.machine, &boot, Form::Text, execution, interruption);
    status.map(exit_status)
}

/// Boots a machine, runs a command in it, and ends it.
fn in_machine(
    options: &MachineOptions,
    boot: &machine::Boot,
    form: Form,
    execution: Execution,
    interruption: &Interruption,
) -> Result<Status, Failure> {
    let machine = machine::start(options, boot, form)?;
    interruption.machine(machine.id())?;
    let status = reported(&machine.socket(), form, || {
        machine::wait_for_agent(&machine)?;
        execution.run(machine.guest()?, interruption)
    });
    let status = status?;
    end(machine, options.verbose, form)?;
    Ok(status)
}

/// The signal that has led to a failure, or else the failure.
fn explained(failure: Failure, interruption: &Interruption) -> Failure {
    match interruption.signal() {
        Some(signal) => Failure::Interrupted(signal),
        None => failure,
    }
}

/// Ends a machine, and writes what it has warned of, such as a rule that never fired, unless it was shown already.
fn end(machine: Machine, was_shown: bool, form: Form) -> Result<(), Failure> {
    let messages = machine.messages().clone();
    machine.quit()?;
    let text = messages.text();
    for line in text.lines().filter(|_| !was_shown) {
        let level = [" WARN ", " ERROR "]
            .into_iter()
            .find(|level| line.contains(level));
        let warning = level.and_then(|level| Some(line.split_once(level)?.1));
        if let Some(warning) = warning {
            report::message(form, "warning", warning);
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

/// The last line in JSON.
fn result(ran: &Result<Ran, Failure>, started: Instant) -> Value {
    let seconds = started.elapsed().as_secs_f64();
    match ran {
        Ok(Ran::Here(status)) => json!({
            "status": status.code(),
            "signal": if let Status::Signaled(signal) = status { Some(*signal) } else { None },
            "timed-out": *status == Status::TimedOut,
            "seconds": seconds,
        }),
        Ok(Ran::InLab(status)) => json!({ "status": status, "seconds": seconds }),
        Err(failure) => json!({
            "status": failure.status(),
            "error": failure.line(),
            "seconds": seconds,
        }),
    }
}

fn exit_status(status: Status) -> u8 {
    u8::try_from(status.shell_code()).unwrap_or(u8::MAX)
}
