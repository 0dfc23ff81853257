//! A machine with the bare-metal guest of `resources/guests/bare`, whose README describes its scripts and reports.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::suite::{Context, Failure};
use crate::wire::WireClient;
use faultvisor_harness::Process;

#[path = "../../resources/guests/bare/src/pattern.rs"]
pub mod pattern;

/// Timeout of each wait, on a busy machine.
pub const SOON: Duration = Duration::from_secs(40);

/// A command line of the program under test with the bare-metal guest.
#[derive(Debug)]
pub struct Plan<'a> {
    context: &'a Context,
    command: Command,
    socket: PathBuf,
}

impl<'a> Plan<'a> {
    /// A machine whose guest executes `script`, with its console on stdio and a monitor.
    pub fn new(context: &'a Context, script: &str) -> Result<Self, Failure> {
        Self::wrapped(context, script, context.command())
    }

    /// As [`new`](Self::new), with the program started by another: `command` must end in the program's name.
    pub fn wrapped(
        context: &'a Context,
        script: &str,
        mut command: Command,
    ) -> Result<Self, Failure> {
        let (initrd, socket) = (context.path("script"), context.path("qmp"));
        std::fs::write(&initrd, script)?;
        command.arg("--kernel").arg(context.bare_guest());
        command.arg("--initrd").arg(initrd);
        command.args(["--append", "acpi=off", "-m", "48M", "--qmp"]);
        command.arg(format!("unix:{}", socket.display()));
        Ok(Self {
            context,
            command,
            socket,
        })
    }

    /// Adds a disk; `options` follow its image, as in `werror=stop,rerror=report`.
    #[must_use]
    pub fn disk(mut self, image: &Path, options: &str) -> Self {
        let mut drive = format!("file={},format=raw", image.display());
        for option in options.split(',').filter(|option| !option.is_empty()) {
            drive.push(',');
            drive.push_str(option);
        }
        self.command.arg("--drive").arg(drive);
        self
    }

    /// Adds options.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.command.args(options);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The command, to be started by the caller.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// The monitor's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Starts it.
    pub fn start(mut self) -> Result<BareMachine, Failure> {
        self.command.args(["--serial", "stdio"]);
        Ok(BareMachine {
            machine: self.context.start(&mut self.command)?,
            socket: self.socket,
        })
    }
}

/// A machine whose guest reports its steps.
#[derive(Debug)]
pub struct BareMachine {
    /// The process and its console.
    pub machine: Process,
    socket: PathBuf,
}

impl BareMachine {
    /// Connects a client that receives every event.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.socket, SOON)?)
    }

    /// Connects a client that sees the lines, and has not read the greeting.
    pub fn wire_client(&self) -> Result<WireClient, Failure> {
        Ok(WireClient::connect(&self.socket, SOON)?)
    }

    /// The monitor's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits for the guest's next report with this `word`. A report of an error in the script, or of a panic, fails.
    pub fn report(&mut self, word: &str) -> Result<Report, Failure> {
        loop {
            let line = self.machine.console().wait_for_line("FV ", SOON)?;
            let report = Report::parse(&line.text);
            if report.word == "error" || report.word == "panic" {
                return Err(Failure::new(line.text));
            }
            if report.word == word {
                return Ok(report);
            }
        }
    }

    /// Waits for an orderly end.
    pub fn ends_well(&mut self) -> Result<(), Failure> {
        Ok(self.machine.expect_exit(0, SOON)?)
    }
}

/// A line that the guest wrote: `FV <step> <word> <key>=<value>...`.
#[derive(Debug, Clone)]
pub struct Report {
    /// The whole line.
    pub line: String,
    /// The step's result.
    pub word: String,
    values: BTreeMap<String, String>,
}

impl Report {
    /// Finds the report in a line, after any other text.
    pub fn parse(line: &str) -> Self {
        let start = line.find("FV ").unwrap_or_default();
        let mut words = line[start..].split_whitespace().skip(2);
        Self {
            line: line.to_owned(),
            word: words.next().unwrap_or_default().to_owned(),
            values: words
                .filter_map(|word| word.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// A value as text; empty if absent.
    pub fn text(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// A value as a number.
    pub fn number(&self, key: &str) -> Result<u64, Failure> {
        let text = self.text(key);
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map_err(|_| Failure::new(format!("no number '{key}' in '{}'", self.line)))
    }

    /// Fails unless the guest counted these completions: done, failed and refused, each once.
    pub fn expect(&self, ok: u64, io_error: u64, unsupported: u64) -> Result<(), Failure> {
        let seen = ["ok", "ioerr", "unsupp", "bad", "doubled"];
        let expected = [ok, io_error, unsupported, 0, 0];
        for (key, expected) in seen.into_iter().zip(expected) {
            if self.number(key)? != expected {
                return Err(Failure::new(format!(
                    "'{}', where {key}={expected} was expected",
                    self.line
                )));
            }
        }
        Ok(())
    }
}

/// The pattern that a seed puts on some sectors.
pub fn content(seed: u64, first_sector: u64, sectors: usize) -> Vec<u8> {
    let mut bytes = vec![0; sectors * pattern::SECTOR];
    pattern::fill(seed, first_sector, &mut bytes);
    bytes
}

/// Creates an image of that many sectors, with the pattern of `seed`.
pub fn image(path: &Path, seed: u64, sectors: usize) -> std::io::Result<()> {
    std::fs::write(path, content(seed, 0, sectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_after_an_unfinished_line() {
        let report =
            Report::parse("promptFV 12 done ok=3 ioerr=0 unsupp=0 bad=0 doubled=0 sum=0x1f");
        assert_eq!(report.word, "done");
        assert_eq!(report.number("sum").unwrap(), 0x1f);
        report.expect(3, 0, 0).unwrap();
        report.expect(2, 1, 0).unwrap_err();
        report.number("cycles").unwrap_err();
    }

    #[test]
    fn content_depends_on_seed_and_sector_only() {
        let whole = content(7, 0, 4);
        assert_eq!(content(7, 2, 2), whole[1024..]);
        assert_ne!(content(8, 0, 4), whole);
    }
}
