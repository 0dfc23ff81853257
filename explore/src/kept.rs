//! Guests that are kept after their command has ended.
//!
//! Each has a directory that only its user can enter, with a lock that the process that keeps it holds, and a file with
//! the addresses of its monitor and its agent.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The longest name.
const LONGEST: usize = 64;
const LOCK: &str = "lock";
const ADDRESSES: &str = "addresses.json";
/// How long the lock of a name that is free may be held by who asks for it.
const ASKED: Duration = Duration::from_millis(200);
/// The pause between two looks at a lock.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a kept guest is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The process that keeps it.
    pub process: u32,
    /// The socket of its monitor.
    pub qmp: PathBuf,
    /// The socket of its vsock device.
    pub vsock: PathBuf,
}

/// A directory for one guest, held by the process that keeps it, and removed with this.
#[derive(Debug)]
pub struct Keeping {
    directory: PathBuf,
    _lock: File,
}

impl Keeping {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// The name is taken or cannot be one, or the host refuses a file.
    pub fn take(name: &str) -> Result<Self, Failure> {
        let directory = place(name)?;
        let path = directory.join(LOCK);
        let by = Instant::now() + ASKED;
        loop {
            private_directory(&directory)?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path);
            let lock = match lock {
                Ok(lock) => lock,
                // Its last owner has just removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Failure::file("open", path)(error)),
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                // Whoever asks whether it is held, holds it for a moment.
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < by => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(Failure::NameTaken(name.to_owned()));
                }
                Err(error) => return Err(Failure::file("lock", path)(error.into())),
            }
            let locked = lock.metadata().map_err(Failure::file("examine", &path))?;
            // Its last owner may have removed it in between: then another file has its name, or none.
            if fs::metadata(&path).is_ok_and(|there| there.ino() == locked.ino()) {
                // Of a guest whose process was killed.
                let _ = fs::remove_file(directory.join(ADDRESSES));
                return Ok(Self {
                    directory,
                    _lock: lock,
                });
            }
        }
    }

    /// Tells others where the guest is reached.
    ///
    /// # Errors
    ///
    /// The host refuses the file.
    pub fn publish(&self, addresses: &Addresses) -> Result<(), Failure> {
        let path = self.directory.join(ADDRESSES);
        let new = self.directory.join("addresses.new");
        let text = serde_json::to_vec(addresses).unwrap_or_default();
        let write = || fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        write().map_err(Failure::file("write", &path))
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        // What is left is taken over by the next guest of that name.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The addresses of a kept guest.
///
/// # Errors
///
/// There is none of that name.
pub fn find(name: &str) -> Result<Addresses, Failure> {
    let directory = place(name)?;
    if !is_held(&directory) {
        return Err(Failure::NoGuest(name.to_owned()));
    }
    let path = directory.join(ADDRESSES);
    let text = match fs::read(&path) {
        Ok(text) => text,
        // It is starting or ending.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::NoGuest(name.to_owned()));
        }
        Err(error) => return Err(Failure::file("read", path)(error)),
    };
    let read = serde_json::from_slice(&text);
    read.map_err(|error| Failure::file("read", path)(error.into()))
}

/// The kept guests, by name.
///
/// # Errors
///
/// The host refuses to list them.
pub fn all() -> Result<Vec<(String, Addresses)>, Failure> {
    let root = root();
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file("list", root)(error)),
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut found: Vec<_> = names
        .filter_map(|name| {
            let addresses = find(&name).ok()?;
            Some((name, addresses))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// The lock of a kept guest, to wait for its end.
#[derive(Debug)]
pub struct End(File);

impl End {
    /// Of the guest that is kept under this name now.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn of(name: &str) -> Result<Self, Failure> {
        let path = place(name)?.join(LOCK);
        let lock = File::open(&path);
        lock.map(Self)
            .map_err(|_| Failure::NoGuest(name.to_owned()))
    }

    /// Waits until its process has ended; false if it has not within that time.
    pub fn wait(&self, within: Duration) -> bool {
        let by = Instant::now() + within;
        while flock(&self.0, FlockOperation::NonBlockingLockShared).is_err() {
            if Instant::now() >= by {
                return false;
            }
            // The lock has no wait with a limit.
            thread::sleep(PAUSE);
        }
        true
    }
}

/// Whether a process holds the lock of a guest's directory.
fn is_held(directory: &Path) -> bool {
    let Ok(lock) = File::open(directory.join(LOCK)) else {
        return false;
    };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

fn place(name: &str) -> Result<PathBuf, Failure> {
    let root = root();
    private_directory(&root)?;
    Ok(root.join(checked(name)?))
}

/// A name that is safe as that of a file.
fn checked(name: &str) -> Result<&str, Failure> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if starts_well && name.len() <= LONGEST && name.bytes().all(is_good) {
        return Ok(name);
    }
    Err(Failure::Usage(format!(
        "'{name}' cannot be a guest's name: letters, digits, '-' and '_', at most {LONGEST}"
    )))
}

/// The directory of all kept guests of this user.
fn root() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() => runtime.join("faultvisor"),
        _ => env::temp_dir().join(format!("faultvisor-{}", getuid().as_raw())),
    }
}

/// Makes a directory that is this user's alone, or makes sure that it is.
fn private_directory(path: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(Failure::file("make", path)),
    }
    // Another user may have made it, where all may.
    let metadata = fs::symlink_metadata(path).map_err(Failure::file("examine", path))?;
    if metadata.is_dir() && metadata.uid() == getuid().as_raw() && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "'{}' must be a directory of this user that nobody else can enter",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_files() {
        for name in ["db", "a-1_B", "0"] {
            assert_eq!(checked(name).unwrap(), name);
        }
        for name in ["", ".", "..", "a/b", "-a", "a.log", "ä", &"a".repeat(65)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }
}
