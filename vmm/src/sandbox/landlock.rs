//! Landlock: the kernel's own restriction of files, sockets and TCP, by what a call reaches and not by its form.
//!
//! Open descriptors stay usable. Everything else is denied, except the removal of files that the program has created.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use libc::O_PATH;

use super::kind::Kind;

/// The newest version of Landlock whose rights are handled here; older kernels have some of them.
const NEWEST: ABI = ABI::V6;

/// Files that the program creates and removes at its end, by the thread that removes them.
#[derive(Debug, Default)]
pub(super) struct Removable {
    /// The file for the process ID, and the sockets of the serial port and of the vsock device.
    pub main: Vec<PathBuf>,
    /// The monitor's sockets.
    pub monitor: Vec<PathBuf>,
}

/// Why a host's Landlock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// The host refuses rules that it supports.
    #[error("{0}")]
    Rules(#[from] RulesetError),
    /// The host refuses to apply them, or has no descriptor for them.
    #[error("{0}")]
    Host(#[source] io::Error),
    /// The directory of a file to be removed cannot be opened.
    #[error("cannot open '{}': {source}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
}

/// A ruleset for each kind of thread; none on a host without Landlock.
pub(super) struct Rulesets {
    /// Used once, before the guest runs.
    main: RulesetCreated,
    monitor: Option<OwnedFd>,
    others: Option<OwnedFd>,
}

impl Rulesets {
    /// Creates them, while the directories can still be opened.
    ///
    /// # Errors
    ///
    /// The host's error. A host without Landlock, or with an old one, is no error.
    pub(super) fn new(removable: &Removable) -> Result<Self, LandlockError> {
        Ok(Self {
            main: ruleset(&removable.main)?,
            monitor: ruleset(&removable.monitor)?.into(),
            others: ruleset(&[])?.into(),
        })
    }

    /// Restricts this thread, and all that it starts, as far as the host supports it. For the main thread, logs how
    /// far.
    ///
    /// # Errors
    ///
    /// The host's error for a restriction that it supports.
    pub(super) fn restrict(&self, kind: Kind) -> Result<(), LandlockError> {
        let ruleset = match kind {
            Kind::Main => {
                let ruleset = self.main.try_clone().map_err(LandlockError::Host)?;
                say(&ruleset.restrict_self()?.ruleset);
                return Ok(());
            }
            Kind::Monitor => &self.monitor,
            _ => &self.others,
        };
        match ruleset {
            Some(ruleset) => restrict_self(ruleset).map_err(LandlockError::Host),
            None => Ok(()),
        }
    }
}

/// Restricts this thread. The library would need another descriptor for this, and a thread may start when the host has
/// none left. no_new_privs was set before the thread was started.
#[expect(unsafe_code, reason = "the library's own call consumes the rules")]
fn restrict_self(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call takes two numbers, the first of which is an open descriptor.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn say(status: &RulesetStatus) {
    match status {
        RulesetStatus::FullyEnforced => tracing::debug!("Landlock restricts every thread"),
        RulesetStatus::PartiallyEnforced => {
            tracing::info!("the host's Landlock is old, and restricts threads only in part");
        }
        RulesetStatus::NotEnforced => {
            tracing::info!("the host has no Landlock; filters for system calls stand alone");
        }
    }
}

/// Denies everything but the removal of files in the directories of these.
fn ruleset(files: &[PathBuf]) -> Result<RulesetCreated, LandlockError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        // Signals are left to the filters: threads that are confined one by one send kicks to each other.
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    let remove: BitFlags<AccessFs> = AccessFs::RemoveFile.into();
    for file in files {
        let path = directory(file);
        match File::options().read(true).custom_flags(O_PATH).open(path) {
            Ok(directory) => ruleset = ruleset.add_rule(PathBeneath::new(directory, remove))?,
            // The file will not exist, and its creation reports the error.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) => {}
            Err(source) => {
                let path = path.to_owned();
                return Err(LandlockError::Open { path, source });
            }
        }
    }
    Ok(ruleset)
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use landlock::LandlockStatus;

    use super::*;

    /// Performs an action in a thread of its own that is restricted.
    fn confined<T: Send>(removable: &Removable, kind: Kind, act: impl FnOnce() -> T + Send) -> T {
        let rulesets = Rulesets::new(removable).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rulesets.restrict(kind).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    fn abi() -> ABI {
        let restricted = thread::scope(|scope| {
            let thread = scope.spawn(|| ruleset(&[]).unwrap().restrict_self().unwrap());
            thread.join().unwrap()
        });
        match restricted.landlock {
            LandlockStatus::Available { effective_abi, .. } => effective_abi,
            _ => ABI::Unsupported,
        }
    }

    /// Whether it succeeded, or failed with Landlock's error.
    fn is_done<T>(result: io::Result<T>) -> bool {
        match result {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                false
            }
        }
    }

    #[test]
    fn open_files_stay_usable_and_no_other_can_be_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();
        let mut open = File::open(&path).unwrap();
        let removable = Removable {
            main: vec![directory.path().join("pid")],
            ..Removable::default()
        };
        // A host without Landlock denies nothing.
        let expected = abi() == ABI::Unsupported;
        for kind in Kind::ALL {
            let done = confined(&removable, kind, || {
                [is_done(File::open(&path)), is_done(fs::read_dir("/"))]
            });
            assert_eq!(done, [expected; 2], "{kind:?}");
        }
        let read = confined(&removable, Kind::Disk, || {
            let mut text = String::new();
            open.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(read.unwrap(), "text");
    }

    #[test]
    fn files_are_removed_only_beside_those_that_were_made() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = [own.path().join("socket"), other.path().join("file")];
        let removable = Removable {
            monitor: vec![files[0].clone()],
            ..Removable::default()
        };
        let remove = |kind| {
            let act = || files.each_ref().map(|file| is_done(fs::remove_file(file)));
            for file in &files {
                fs::write(file, "").unwrap();
            }
            confined(&removable, kind, act)
        };
        let is_free = abi() == ABI::Unsupported;
        assert_eq!(remove(Kind::Monitor), [true, is_free]);
        assert_eq!(remove(Kind::Main), [is_free; 2]);
        assert_eq!(remove(Kind::Disk), [is_free; 2]);
    }

    #[test]
    fn tcp_can_be_neither_listened_on_nor_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let act = || {
            let bound = is_done(TcpListener::bind("127.0.0.1:0"));
            [bound, is_done(TcpStream::connect(address))]
        };
        let done = confined(&Removable::default(), Kind::Monitor, act);
        // Older versions do not restrict TCP.
        assert_eq!(done, [abi() < ABI::V4; 2]);
        assert!(TcpStream::connect(address).is_ok());
    }
}
