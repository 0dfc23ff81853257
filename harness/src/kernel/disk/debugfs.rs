//! Files of an ext file system, read by debugfs without mounting it. The file system is not trusted: names that could
//! lead elsewhere and files that are too large are left out.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::cache::artifact::ArtifactError;
use crate::packages::DEBUGFS;
use crate::tool::{self, ToolError};

const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
/// The largest file that is copied, and the most in all.
const LARGEST: u64 = 1 << 30;
/// The directories that are listed at once.
const LISTED: usize = 64;
const MOST: u64 = 4 << 30;
/// The most files below a directory, and the deepest.
const FILES: usize = 50_000;
const DEPTH: usize = 16;

/// A file in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    is_directory: bool,
    size: u64,
}

/// An ext file system in an image.
#[derive(Debug)]
pub(super) struct Debugfs {
    /// What debugfs opens: `image?offset=N`.
    device: String,
    /// A directory with a link to the image, so that its path needs no quotes.
    scratch: PathBuf,
}

impl Debugfs {
    /// The file system at an offset of the file `image` in the directory `scratch`.
    pub(super) fn at(scratch: &Path, offset: u64) -> Self {
        Self {
            device: format!("image?offset={offset}"),
            scratch: scratch.to_path_buf(),
        }
    }

    /// The files and directories in each directory; nothing of one that does not exist.
    pub(super) fn list(&self, directories: &[String]) -> Result<Vec<Vec<Entry>>, ReadError> {
        let requests: Vec<_> = directories
            .iter()
            .map(|path| format!("ls -p {path}"))
            .collect();
        let said = self.run(&requests)?;
        Ok(parse_lists(&said, directories.len()))
    }

    /// Copies files and the directories below them to a directory of this machine.
    pub(super) fn copy(&self, from: &str, to: &Path) -> Result<(), ReadError> {
        let mut files = Vec::new();
        let mut level = vec![(from.to_owned(), to.to_path_buf())];
        for _ in 0..DEPTH {
            if level.is_empty() {
                break;
            }
            let mut next = Vec::new();
            // A few at a time: a directory may be in another one any number of times.
            for some in level.chunks(LISTED) {
                let paths: Vec<_> = some.iter().map(|(path, _)| path.clone()).collect();
                for ((path, to), entries) in some.iter().zip(self.list(&paths)?) {
                    fs::create_dir_all(to)
                        .map_err(|error| ArtifactError::new("create", to, error))?;
                    for entry in entries {
                        let below = (format!("{path}/{}", entry.name), to.join(&entry.name));
                        if entry.is_directory {
                            next.push(below);
                        } else {
                            files.push((below.0, below.1, entry.size));
                        }
                    }
                }
                if files.len() + next.len() > FILES {
                    return Err(ReadError::TooMuch(from.to_owned()));
                }
            }
            level = next;
        }
        self.dump(&files)
    }

    /// Copies one file, which [`list`](Self::list) has found.
    pub(super) fn copy_file(&self, from: &str, entry: &Entry, to: &Path) -> Result<(), ReadError> {
        self.dump(&[(from.to_owned(), to.to_path_buf(), entry.size)])
    }

    fn dump(&self, files: &[(String, PathBuf, u64)]) -> Result<(), ReadError> {
        let is_large = files.iter().any(|(.., size)| *size > LARGEST);
        // The sizes are what the image says.
        let all = files
            .iter()
            .fold(0_u64, |all, (.., size)| all.saturating_add(*size));
        if is_large || all > MOST {
            let first = files.first().map(|(path, ..)| path.clone());
            return Err(ReadError::TooMuch(first.unwrap_or_default()));
        }
        // Their names here may need quotes, which debugfs cannot take all of.
        let requests: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(index, (from, ..))| format!("dump {from} file{index}"))
            .collect();
        self.run(&requests)?;
        for (index, (from, to, _)) in files.iter().enumerate() {
            let dumped = self.scratch.join(format!("file{index}"));
            fs::rename(&dumped, to).map_err(|error| match error.kind() {
                // debugfs reports no failure by its status.
                io::ErrorKind::NotFound => ReadError::Damaged(from.clone()),
                _ => ReadError::Artifact(ArtifactError::new("write", to, error)),
            })?;
        }
        Ok(())
    }

    fn run(&self, requests: &[String]) -> Result<String, ReadError> {
        let script = self.scratch.join("requests");
        fs::write(&script, requests.join("\n") + "\n")
            .map_err(|error| ArtifactError::new("write", &script, error))?;
        let mut debugfs = tool::command(DEBUGFS.program)?;
        debugfs.current_dir(&self.scratch).args(["-f", "requests"]);
        let said = tool::output(debugfs.arg(&self.device))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// debugfs is missing, or fails.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file of this machine cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// There is more than a system has.
    #[error("'{0}' has more or larger files than a kernel's")]
    TooMuch(String),
    /// A file cannot be read.
    #[error("'{0}' cannot be read: the file system is damaged")]
    Damaged(String),
}

/// What `ls -p` answers: `/INODE/MODE/UID/GID/NAME/SIZE/`, behind a line with each request.
fn parse_lists(said: &str, count: usize) -> Vec<Vec<Entry>> {
    let mut lists: Vec<Vec<Entry>> = Vec::new();
    for line in said.lines() {
        if line.starts_with("debugfs: ") {
            lists.push(Vec::new());
            continue;
        }
        let fields: Vec<_> = line.split('/').collect();
        if let (["", _inode, mode, _uid, _gid, name, size, ""], Some(list)) =
            (&fields[..], lists.last_mut())
            && let Ok(mode) = u32::from_str_radix(mode, 8)
            && is_plain(name)
        {
            let kind = mode & S_IFMT;
            if kind == S_IFREG || kind == S_IFDIR {
                list.push(Entry {
                    name: (*name).to_owned(),
                    is_directory: kind == S_IFDIR,
                    size: size.parse().unwrap_or_default(),
                });
            }
        }
    }
    lists.resize(count, Vec::new());
    lists
}

/// Whether a name leads nowhere else and needs no quotes.
fn is_plain(name: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._+-~:,=@".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_several_directories_are_told_apart() {
        let said = "debugfs: ls -p /boot\n/12/040755/0/0/.//\n/2/040755/0/0/..//\n\
                    /13/100644/0/0/vmlinuz-6.1-x/2/\n/14/120777/0/0/link//\n/15/040755/0/0/grub//\n\
                    /16/100644/0/0/..\\/..\\/x/9/\n/17/100644/0/0/a b/9/\n\
                    debugfs: ls -p /none\ndebugfs: ls -p /c\n/1/100644/0/0/d/7/\n";
        let entry = |name: &str, is_directory, size| Entry {
            name: name.to_owned(),
            is_directory,
            size,
        };
        let expected = [
            vec![entry("vmlinuz-6.1-x", false, 2), entry("grub", true, 0)],
            vec![],
            vec![entry("d", false, 7)],
        ];
        assert_eq!(parse_lists(said, 3), expected);
        assert_eq!(parse_lists("", 1), [vec![]]);
    }
}
