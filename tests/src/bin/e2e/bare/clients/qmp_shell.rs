//! `qmp-shell`, the shell of QEMU's Python library, on a terminal.

use std::process::{Command, Stdio};
use std::time::Instant;

use faultvisor_harness::child::Guarded;
use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure};
use faultvisor_tests::{check, check_eq};

use super::python;
use crate::bare::pty::Pty;

const PROMPT: &str = "(QEMU) ";

/// The shell, ready for a command.
struct Shell {
    pty: Pty,
    process: Guarded,
}

impl Shell {
    fn start(context: &Context, socket: &std::path::Path) -> Result<Self, Failure> {
        let pty = Pty::open()?;
        let mut command = Command::new(python(context)?.with_file_name("qmp-shell"));
        command.arg(socket);
        // Use a history of the test's own, and the simplest terminal settings.
        command.env("HOME", context.scratch());
        command.env("TERM", "dumb").env("INPUTRC", "/dev/null");
        pty.give(&mut command)?;
        command.stderr(Stdio::from(pty.terminal.try_clone()?));
        let process = Guarded::spawn(&mut command)?;
        Ok(Self { pty, process })
    }

    fn is_ready(&self) -> Result<(), Failure> {
        let prompted = self
            .pty
            .screen
            .wait_for_prompt(PROMPT, Instant::now() + SOON);
        let said = || format!("no prompt: {}", self.pty.screen.text());
        prompted.map_err(|_| Failure::new(said()))
    }

    /// Types a command, and returns the line of its answer.
    fn execute(&mut self, keys: &str) -> Result<String, Failure> {
        self.is_ready()?;
        let before = self.pty.screen.len();
        self.pty.types(keys)?;
        self.pty.types("\r")?;
        let is_answer = |line: &str| line.starts_with('{');
        let deadline = Instant::now() + SOON;
        let found = self.pty.screen.find(before, deadline, is_answer);
        let said = || format!("no answer to '{keys}': {}", self.pty.screen.text());
        Ok(found.map_err(|_| Failure::new(said()))?.1.text)
    }

    /// Types the end of input.
    fn leaves(mut self) -> Result<(), Failure> {
        self.is_ready()?;
        self.pty.types("\x04")?;
        let status = self.process.wait_until(Instant::now() + SOON)?;
        check_eq!(status.and_then(|status| status.code()), Some(0));
        Ok(())
    }
}

pub fn qemus_shell_completes_and_executes_commands(context: &Context) -> Result<(), Failure> {
    python(context)?;
    let mut machine = Plan::new(context, "spin")?.options(&["-S"]).start()?;
    let client = machine.client()?;
    let mut shell = Shell::start(context, machine.socket())?;
    shell.pty.sees("Connected to QEMU 10.0.0")?;

    let status = shell.execute("query-st\t")?;
    check!(status.contains("\"status\": \"prelaunch\""), "{status}");
    shell.pty.sees("(QEMU) query-status")?;

    let refused = shell.execute("put-event tag=1000000")?;
    check!(
        refused.contains("\"class\": \"InvalidParameterValue\"")
            && refused.contains("Parameter 'tag' expects a valid event handle"),
        "{refused}"
    );
    let returned = shell.execute("listen-event event=STOP id=a")?;
    check!(returned.starts_with("{\"return\": {}"), "{returned}");
    // The machine has not started, which STOP reports as its state.
    shell.is_ready()?;
    let event = shell.execute("")?;
    check!(
        event.contains("'event': 'STOP'") && event.contains("'id': 'a'"),
        "{event}"
    );
    let returned = shell.execute("unlisten-event id=a")?;
    check!(returned.starts_with("{\"return\": {}"), "{returned}");
    shell.leaves()?;

    client.quit()?;
    machine.ends_well()
}
