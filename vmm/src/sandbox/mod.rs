//! The sandbox: each thread drops what it does not need once everything is open.
//!
//! A thread keeps the system calls that its kind needs ([`filter`]), and may not open, create or connect anything
//! ([`landlock`] enforces the same by what a call reaches). A refused call ends the program with a line that names it
//! ([`violation`]). An attacker who takes over a thread finds the open descriptors, and nothing else.

mod calls;
mod descriptors;
mod filter;
mod kind;
mod kvm;
mod landlock;
mod rules;
mod violation;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use faultvisor_devices::thread::ThreadStart;

use crate::cli::{Configuration, SerialPort};
use crate::{logging, terminal};

pub use descriptors::close_on_exec;
use filter::Filters;
pub use kind::Kind;
use landlock::{LandlockError, Removable, Rulesets};

/// The program cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host has no seccomp, or refuses this filter.
    #[error(
        "--sandbox: the host takes no filter for system calls: {0}; --sandbox off does without"
    )]
    Filter(#[from] seccompiler::Error),
    /// A filter cannot be compiled.
    #[error("--sandbox: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// The host's Landlock cannot be used.
    #[error("--sandbox: Landlock: {0}; --sandbox off does without")]
    Landlock(#[from] LandlockError),
    /// The handler for refused calls cannot be installed.
    #[error("--sandbox: cannot handle SIGSYS: {0}")]
    Handler(vmm_sys_util::errno::Error),
}

/// Confines threads, each in its kind. Clones share everything.
#[derive(Clone)]
pub struct Sandbox(Option<Arc<Confinement>>);

struct Confinement {
    filters: Filters,
    rulesets: Rulesets,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sandbox").field(&self.0.is_some()).finish()
    }
}

impl Sandbox {
    /// Prepares what `--sandbox` asks for, before another thread exists. Afterwards neither this process nor its
    /// children gain rights.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if the host has no seccomp. A host without Landlock is no error: the filters stand alone.
    pub fn prepare(configuration: &Configuration) -> Result<Self, SandboxError> {
        if !configuration.sandbox {
            return Ok(Self(None));
        }
        violation::catch().map_err(SandboxError::Handler)?;
        violation::settle_allocator();
        violation::settle_backtraces();
        let serial = match &configuration.serial {
            SerialPort::Unix(path) => Some(path.as_path()),
            _ => None,
        };
        let sockets = configuration.qmp.iter().filter_map(|qmp| qmp.socket_path());
        let removable = Removable {
            main: serial
                .into_iter()
                .chain(configuration.pidfile.as_deref())
                .chain(
                    configuration
                        .vsock
                        .as_ref()
                        .map(|vsock| vsock.socket.as_path()),
                )
                .map(Path::to_owned)
                .collect(),
            monitor: sockets.map(Path::to_owned).collect(),
        };
        filter::apply(&filter::without_clone3()?)?;
        Ok(Self(Some(Arc::new(Confinement {
            filters: Filters::new(&removable)?,
            rulesets: Rulesets::new(&removable)?,
        }))))
    }

    /// Confines this thread, irrevocably.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if the host refuses the filter.
    pub fn confine(&self, kind: Kind) -> Result<(), SandboxError> {
        let Some(confinement) = &self.0 else {
            return Ok(());
        };
        confinement.rulesets.restrict(kind)?;
        filter::apply(confinement.filters.of(kind))
    }

    /// The same for a new thread, which must not run unconfined.
    pub fn begin(&self, kind: Kind) {
        if let Err(error) = self.confine(kind) {
            logging::fail(&format_args!("a thread cannot be confined: {error}"));
            logging::finish();
            terminal::restore();
            std::process::exit(1);
        }
    }

    /// The first call of each of the devices' threads.
    pub fn device_threads(&self) -> ThreadStart {
        let sandbox = self.clone();
        ThreadStart::new(move |kind| sandbox.begin(kind.into()))
    }

    /// The first call of each of the monitor's threads.
    pub fn monitor_threads(
        &self,
    ) -> impl Fn(faultvisor_monitor::ThreadKind) + Send + Sync + 'static {
        let sandbox = self.clone();
        move |kind| sandbox.begin(kind.into())
    }
}
