//! Why `fvctl` itself failed, in one line.

use std::io;
use std::path::PathBuf;

use faultvisor_harness::cache::NoCacheDirectory;
use faultvisor_harness::cache::artifact::ArtifactError;
use faultvisor_harness::guest::{FailureKind, GuestError};
use faultvisor_harness::image::ImageError;
use faultvisor_harness::kernel::KernelError;
use faultvisor_harness::lab::{LabError, RunError};
use faultvisor_harness::libqmp;

/// The exit status for a failure of `fvctl` or of the machine, as of `docker run`.
pub const OWN: u8 = 125;
/// The exit status for a command that cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The exit status for a command that does not exist.
pub const NOT_FOUND: u8 = 127;
/// The exit status when a time limit passed, as of `timeout`.
pub const TIME_LIMIT: u8 = 124;

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The machine's, or the agent's.
    #[error(transparent)]
    Machine(#[from] faultvisor_harness::Error),
    /// The guest's.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// There is no image for the guest.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// There is no lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The lab did not run.
    #[error(transparent)]
    LabRun(#[from] RunError),
    /// A file for the lab cannot be used.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// There is no place for images.
    #[error(transparent)]
    Cache(#[from] NoCacheDirectory),
    /// The monitor's.
    #[error(transparent)]
    Monitor(#[from] libqmp::Error),
    /// An option that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// There is no such guest.
    #[error("no guest '{0}' was kept; 'fvctl list' has those that were")]
    NoGuest(String),
    /// There is one already.
    #[error("a guest '{0}' is kept already; 'fvctl stop {0}' ends it")]
    NameTaken(String),
    /// The process that keeps a guest did not start it.
    #[error("the guest '{name}' did not start: {why}")]
    NotKept {
        /// The guest's name.
        name: String,
        /// The last line that it wrote.
        why: String,
    },
    /// A command that was killed does not end, as on a disk that hangs, or with a machine that has stopped.
    #[error("the time limit passed, and the command could not be killed")]
    Unkillable,
    /// A signal ended this program's work.
    #[error("ended by signal {0}")]
    Interrupted(i32),
    /// A file cannot be used.
    #[error("cannot {verb} '{}': {source}", path.display())]
    File {
        /// What was to be done.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// The host refused something else.
    #[error("{what}: {source}")]
    Host {
        /// What.
        what: &'static str,
        /// Its error.
        source: io::Error,
    },
}

impl Failure {
    /// A function that makes a host's error one of a file.
    pub fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    /// A function that makes a host's error one of something else.
    pub fn host(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { what, source }
    }

    /// The exit status: that of a shell for a command that it cannot execute, and otherwise [`OWN`].
    pub fn status(&self) -> u8 {
        let guest = match self {
            Self::Guest(error) => error,
            Self::Machine(faultvisor_harness::Error::Guest { error, .. }) => error,
            Self::Unkillable => return TIME_LIMIT,
            Self::Interrupted(signal) => {
                return u8::try_from(128 + signal).unwrap_or(u8::MAX);
            }
            _ => return OWN,
        };
        match guest.kind() {
            Some(FailureKind::NoSuchProgram) => NOT_FOUND,
            Some(FailureKind::Unkillable) => TIME_LIMIT,
            Some(FailureKind::NotExecutable | FailureKind::NoInterpreter) => NOT_EXECUTABLE,
            _ => OWN,
        }
    }

    /// The text, in one line.
    pub fn line(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let under = error.to_string();
            // Some messages contain the error below already.
            if !text.contains(&under) {
                text.push_str(": ");
                text.push_str(&under);
            }
            source = error.source();
        }
        text
    }
}
