//! The sandbox: what each thread loses once everything is open.
//!
//! A thread may use the system calls that a thread of its kind needs ([`filter`]), and may open, make and connect to
//! nothing ([`landlock`] for the kernel's own view of that, where a system call could be read in two ways). A call that
//! is refused ends the program with a line that names it ([`violation`]). Whoever takes over a thread by a bug finds
//! the descriptors that are open, and nothing else.

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

/// Why the program cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host has no filters for system calls, or refuses this one.
    #[error(
        "--sandbox: the host takes no filter for system calls: {0}; --sandbox off does without"
    )]
    Filter(#[from] seccompiler::Error),
    /// A filter cannot be made.
    #[error("--sandbox: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// The host has Landlock, and it cannot be used.
    #[error("--sandbox: Landlock: {0}; --sandbox off does without")]
    Landlock(#[from] LandlockError),
    /// The handler of the signal that tells of a refused call.
    #[error("--sandbox: cannot handle SIGSYS: {0}")]
    Handler(vmm_sys_util::errno::Error),
}

/// What confines threads, each in its kind. Clones are the same.
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
    /// Prepares what `--sandbox` asks for, before any other thread is there. From now on neither this process nor its
    /// children get more rights than it has.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] when the host has no seccomp. A host without Landlock is none: the filters stand alone.
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

    /// Confines this thread for good.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] when the host refuses the filter.
    pub fn confine(&self, kind: Kind) -> Result<(), SandboxError> {
        let Some(confinement) = &self.0 else {
            return Ok(());
        };
        confinement.rulesets.restrict(kind)?;
        filter::apply(confinement.filters.of(kind))
    }

    /// The same for a thread that has just been started, and that must not run otherwise.
    pub fn begin(&self, kind: Kind) {
        if let Err(error) = self.confine(kind) {
            logging::fail(&format_args!("a thread cannot be confined: {error}"));
            logging::finish();
            terminal::restore();
            std::process::exit(1);
        }
    }

    /// What the devices' threads do first.
    pub fn device_threads(&self) -> ThreadStart {
        let sandbox = self.clone();
        ThreadStart::new(move |kind| sandbox.begin(kind.into()))
    }

    /// What the monitor's threads do first.
    pub fn monitor_threads(
        &self,
    ) -> impl Fn(faultvisor_monitor::ThreadKind) + Send + Sync + 'static {
        let sandbox = self.clone();
        move |kind| sandbox.begin(kind.into())
    }
}
