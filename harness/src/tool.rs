//! Running the command-line tools that the images are made with.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::command_line;
use crate::packages;

/// Why a tool failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("'{0}' is not installed{install}", install = packages::install_hint(.0))]
    Missing(String),
    /// It cannot be started.
    #[error("cannot start '{program}'")]
    Start {
        /// The tool.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("'{command}' ended with {status}: {message}")]
    Failed {
        /// The whole command line.
        command: String,
        /// Its status.
        status: ExitStatus,
        /// The end of its stderr.
        message: String,
    },
}

/// Finds a program in `PATH`, or in the system directories that an ordinary user's `PATH` may lack.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

/// Whether a path leads to a file that somebody may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    let metadata = fs::metadata(path);
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A command for a required tool.
///
/// # Errors
///
/// It is not installed; the message has the command that installs it, where the package is known.
pub fn command(name: &str) -> Result<Command, ToolError> {
    find(name)
        .map(Command::new)
        .ok_or_else(|| ToolError::Missing(name.to_owned()))
}

/// Runs a command to its end and returns what it wrote to stdout.
///
/// # Errors
///
/// It cannot be started, or ends with another status than 0.
pub fn output(command: &mut Command) -> Result<Vec<u8>, ToolError> {
    let output = command.output().map_err(|source| ToolError::Start {
        program: command_name(command.get_program()),
        source,
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = lines.len().saturating_sub(5);
    Err(ToolError::Failed {
        command: command_line::typed(command),
        status: output.status,
        message: lines[tail..].join("; "),
    })
}

/// Runs a command to its end; its output is shown only if it fails.
///
/// # Errors
///
/// Those of [`output`].
pub fn run(command: &mut Command) -> Result<(), ToolError> {
    output(command).map(drop)
}

fn command_name(program: &OsStr) -> String {
    Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_tool_is_named_with_its_arguments_and_its_message() {
        let error = run(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("'sh -c 'echo no such luck >&2; exit 3'' ended with exit status: 3"),
            "{error}"
        );
        assert!(error.ends_with(": no such luck"), "{error}");
    }

    #[test]
    fn a_missing_tool_is_named() {
        assert_eq!(
            command("no-such-tool-here").unwrap_err().to_string(),
            "'no-such-tool-here' is not installed"
        );
    }

    #[test]
    fn a_missing_tool_of_a_known_package_comes_with_the_command_that_installs_it() {
        assert_eq!(
            ToolError::Missing("mke2fs".to_owned()).to_string(),
            "'mke2fs' is not installed; as root, run: apt-get install e2fsprogs"
        );
    }
}
