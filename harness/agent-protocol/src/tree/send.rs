//! Sends a file or a tree.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::failed;
use crate::failure::{Failure, FailureKind};
use crate::frame::{CHUNK_BYTES, Kind};
use crate::request::{Content, Copied, Entry};
use crate::text::Text;

/// The most that is read of a file that does not tell its length, such as those of `/proc`.
const UNTOLD_BYTES: u64 = 16 << 20;
/// What is read beyond it to see that there is more.
const UNTOLD_RECORD_BYTES: u64 = 4096;

/// Why a tree was not sent.
#[derive(Debug)]
pub enum SendError<E> {
    /// It cannot be read.
    Source(Failure),
    /// The sink's own error.
    Sink(E),
}

impl<E> From<Failure> for SendError<E> {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}

/// Sends what is at a path, each directory before what is in it, to a sink of frames.
///
/// A symbolic link is followed only if it is the path itself. A file that says that it is empty is read all the same, up to
/// 16 MiB: those of `/proc` say so.
///
/// # Errors
///
/// Something of it cannot be read, or is neither a file, a directory nor a symbolic link; or the sink's.
pub fn send<E>(
    path: &Path,
    mut sink: impl FnMut(Kind, &[u8]) -> Result<(), E>,
) -> Result<Copied, SendError<E>> {
    let mut copied = Copied::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    // The last one is next.
    let mut waiting: Vec<(PathBuf, PathBuf)> = vec![(path.to_owned(), PathBuf::new())];
    while let Some((source, below)) = waiting.pop() {
        let unreadable = |error| failed(format_args!("cannot read '{}'", source.display()), &error);
        let is_root = below.as_os_str().is_empty();
        let metadata = if is_root {
            source.metadata()
        } else {
            source.symlink_metadata()
        };
        let metadata = metadata.map_err(unreadable)?;
        let mut untold = None;
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            let mut names = Vec::new();
            for entry in fs::read_dir(&source).map_err(unreadable)? {
                names.push(entry.map_err(unreadable)?.file_name());
            }
            names.sort_unstable_by(|one, other| other.cmp(one));
            let children = names.into_iter();
            waiting.extend(children.map(|name| (source.join(&name), below.join(&name))));
            Content::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(&source).map_err(unreadable)?;
            Content::Link(Text::from(target.as_path()))
        } else if kind.is_file() && metadata.len() == 0 {
            let bytes = untold.insert(read_untold(&source)?);
            Content::File(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        } else if kind.is_file() {
            Content::File(metadata.len())
        } else {
            let message = format!(
                "cannot copy '{}': it is neither a file, a directory nor a symbolic link",
                source.display()
            );
            return Err(Failure::new(FailureKind::System, message).into());
        };
        let size = match content {
            Content::File(size) => Some(size),
            _ => None,
        };
        let entry = Entry {
            path: Text::from(below.as_path()),
            content,
            mode: metadata.permissions().mode() & 0o7777,
        };
        let message = serde_json::to_vec(&entry);
        let message = message.map_err(|error| Failure::new(FailureKind::System, error))?;
        sink(Kind::Entry, &message).map_err(SendError::Sink)?;
        if let Some(size) = size {
            match untold {
                Some(bytes) => {
                    for piece in bytes.chunks(CHUNK_BYTES) {
                        sink(Kind::Content, piece).map_err(SendError::Sink)?;
                    }
                }
                None => send_file(&source, size, &mut buffer, &mut sink)?,
            }
            copied.files += 1;
            copied.bytes += size;
        }
    }
    sink(Kind::End, &[]).map_err(SendError::Sink)?;
    Ok(copied)
}

/// Reads a file that says that it is empty.
fn read_untold(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| failed(format_args!("cannot read '{}'", path.display()), &error);
    // Some of `/proc` wait for what comes next.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
    let mut bytes = Vec::new();
    // Some of them take no read of a part of a record.
    let mut file = File::from(file).take(UNTOLD_BYTES + UNTOLD_RECORD_BYTES);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|count| count > UNTOLD_BYTES) {
        let message = format!(
            "cannot copy '{}': it does not tell its length, and has more than {UNTOLD_BYTES} bytes",
            path.display()
        );
        return Err(Failure::new(FailureKind::System, message));
    }
    Ok(bytes)
}

/// Sends so many bytes of a file, in frames.
fn send_file<E>(
    path: &Path,
    size: u64,
    buffer: &mut [u8],
    sink: &mut impl FnMut(Kind, &[u8]) -> Result<(), E>,
) -> Result<(), SendError<E>> {
    let unreadable = |error| failed(format_args!("cannot read '{}'", path.display()), &error);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = match file.read(&mut buffer[..most]) {
            Ok(0) => {
                let message = format!("'{}' became shorter while it was copied", path.display());
                return Err(Failure::new(FailureKind::System, message).into());
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error).into()),
        };
        sink(Kind::Content, &buffer[..count]).map_err(SendError::Sink)?;
        left -= u64::try_from(count).unwrap_or(left);
    }
    Ok(())
}
