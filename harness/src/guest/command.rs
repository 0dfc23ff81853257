//! A program to be run in a guest.

use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

use faultvisor_agent_protocol::run::{Run, TerminalSize};
use faultvisor_agent_protocol::text::Text;

use crate::command_line::quoted;

/// The time limit of a program that is waited for.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The output that is kept in memory, in bytes.
pub(crate) const OUTPUT_BYTES: usize = 256 << 20;

/// A program to be run in a guest, with its arguments and what surrounds it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Command {
    pub(crate) run: Run,
    pub(crate) input: Vec<u8>,
    pub(crate) limit: Limit,
    pub(crate) output_bytes: usize,
}

/// The time limit of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Of one that is waited for.
    Default,
    Never,
    After(Duration),
}

impl Command {
    /// A program by its name, which is searched in the guest's `PATH`, or by its path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            run: Run {
                arguments: vec![program.as_ref().into()],
                ..Run::default()
            },
            input: Vec::new(),
            limit: Limit::Default,
            output_bytes: OUTPUT_BYTES,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.run.arguments.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let arguments = arguments.into_iter();
        let arguments = arguments.map(|argument| Text::from(argument.as_ref()));
        self.run.arguments.extend(arguments);
        self
    }

    /// Sets a variable of its environment, beside the agent's own.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let variable = (name.as_ref().into(), value.as_ref().into());
        self.run.environment.push(variable);
        self
    }

    /// Leaves the agent's own variables out.
    pub fn env_clear(mut self) -> Self {
        self.run.clear_environment = true;
        self
    }

    /// Sets its working directory, by default `/`.
    pub fn current_dir(mut self, directory: impl AsRef<OsStr>) -> Self {
        self.run.directory = Some(directory.as_ref().into());
        self
    }

    /// Sets what it reads on stdin, by default nothing.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self.run.input = true;
        self
    }

    /// Has its stdin written to by [`Running::input`](super::Running::input).
    pub fn piped_input(mut self) -> Self {
        self.input.clear();
        self.run.input = true;
        self
    }

    /// Sets the time of the guest's clock after which it is killed with its children: by default five minutes for a
    /// program that is waited for, and none for one that is spawned.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit = Limit::After(timeout);
        self
    }

    /// Lets it run without a time limit.
    pub fn no_timeout(mut self) -> Self {
        self.limit = Limit::Never;
        self
    }

    /// Runs it on a terminal of this size, which joins stdout and stderr.
    pub fn terminal(mut self, rows: u16, columns: u16) -> Self {
        self.run.terminal = Some(TerminalSize { rows, columns });
        self.run.input = true;
        self
    }

    /// Sets how much of its output [`Output`](super::Output) may take, by default 256 MiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Sets how much of each stream the agent keeps for [`Guest::attach`](super::Guest::attach), by default 1 MiB.
    pub fn kept_output(mut self, bytes: u64) -> Self {
        self.run.kept_bytes = Some(bytes);
        self
    }

    /// The time limit of one that is waited for.
    pub(crate) fn limited(mut self) -> Self {
        if self.limit == Limit::Default {
            self.limit = Limit::After(TIMEOUT);
        }
        self
    }

    pub(crate) fn time_limit(&self) -> Option<Duration> {
        match self.limit {
            Limit::After(timeout) => Some(timeout),
            Limit::Default | Limit::Never => None,
        }
    }
}

/// The command as it is typed.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.run.arguments.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", quoted(&word.to_string()))?;
        }
        Ok(())
    }
}

impl From<&Command> for Command {
    fn from(command: &Command) -> Self {
        command.clone()
    }
}

impl<S: AsRef<OsStr>, const N: usize> From<[S; N]> for Command {
    fn from(words: [S; N]) -> Self {
        Self::of(words)
    }
}

impl<S: AsRef<OsStr>> From<&[S]> for Command {
    fn from(words: &[S]) -> Self {
        Self::of(words)
    }
}

impl<S: AsRef<OsStr>> From<Vec<S>> for Command {
    fn from(words: Vec<S>) -> Self {
        Self::of(words)
    }
}

impl Command {
    fn of(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Self::new("").args(words);
        // Without words the agent says that no program is named.
        if command.run.arguments.len() > 1 {
            command.run.arguments.remove(0);
        }
        command
    }
}
