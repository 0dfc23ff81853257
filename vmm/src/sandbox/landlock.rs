//! Landlock: the kernel's own rules for files, sockets and TCP, by what a call reaches and not by its form.
//!
//! What is open stays usable. Everything else is denied, but for the removal of files that the program has made itself.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::kind::Kind;

/// The newest version of Landlock whose rights are taken away here; older kernels know some of them.
const NEWEST: ABI = ABI::V6;

/// Files that the program makes and removes at its end, by who removes them.
#[derive(Debug, Default)]
pub(super) struct Removable {
    /// The file for the process ID, and the serial port's socket.
    pub main: Vec<PathBuf>,
    /// The monitor's sockets.
    pub monitor: Vec<PathBuf>,
}

/// A set of rules for each kind of thread; without one, the host has no Landlock.
pub(super) struct Rulesets {
    main: Option<RulesetCreated>,
    monitor: Option<RulesetCreated>,
    others: Option<RulesetCreated>,
}

impl Rulesets {
    /// Makes them, while the directories can still be opened.
    pub(super) fn new(removable: &Removable) -> Self {
        Self {
            main: create(&removable.main),
            monitor: create(&removable.monitor),
            others: create(&[]),
        }
    }

    /// Restricts this thread, and all that it starts, as far as the host can. Says how far once, for the main thread.
    pub(super) fn restrict(&self, kind: Kind) {
        let ruleset = match kind {
            Kind::Main => &self.main,
            Kind::Monitor => &self.monitor,
            _ => &self.others,
        };
        let Some(ruleset) = ruleset else { return };
        let restricted = ruleset.try_clone().map_err(|error| error.to_string());
        let restricted = restricted
            .and_then(|ruleset| ruleset.restrict_self().map_err(|error| error.to_string()));
        match restricted {
            Ok(status) if kind == Kind::Main => say(&status.ruleset),
            Ok(_) => {}
            Err(error) => tracing::info!("Landlock does not restrict a thread: {error}"),
        }
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

fn create(files: &[PathBuf]) -> Option<RulesetCreated> {
    match ruleset(files) {
        Ok(ruleset) => Some(ruleset),
        Err(error) => {
            tracing::info!("Landlock cannot be used: {error}");
            None
        }
    }
}

/// Denies everything but to remove what lies beside these files.
fn ruleset(files: &[PathBuf]) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        // Signals are a matter of the filters: threads that have confined themselves one by one kick one another.
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    let remove: BitFlags<AccessFs> = AccessFs::RemoveFile.into();
    for file in files {
        // Where there is no such directory, there will be no such file, and who makes it says so.
        if let Ok(directory) = PathFd::new(directory(file)) {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, remove))?;
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
    use std::fs::{self, File};
    use std::io::{self, ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use landlock::LandlockStatus;

    use super::*;

    /// Restricts a thread of its own, and does something there.
    fn confined<T: Send>(removable: &Removable, kind: Kind, act: impl FnOnce() -> T + Send) -> T {
        let rulesets = Rulesets::new(removable);
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rulesets.restrict(kind);
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

    /// Whether something was done, or refused as Landlock refuses it.
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
    fn what_is_open_stays_usable_and_nothing_else_can_be_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();
        let mut open = File::open(&path).unwrap();
        let removable = Removable {
            main: vec![directory.path().join("pid")],
            ..Removable::default()
        };
        // A host without Landlock refuses nothing.
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
        // Older versions do not know of TCP.
        assert_eq!(done, [abi() < ABI::V4; 2]);
        assert!(TcpStream::connect(address).is_ok());
    }
}
