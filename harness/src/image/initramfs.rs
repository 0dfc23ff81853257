//! An initramfs as a set of files, which is written at once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ImageError;
use super::archive::{Archive, FileArchive, MERGED, member_name, write_archive};
use super::busybox::Busybox;
use super::libraries;
use crate::cache::Cache;
use crate::cache::artifact::{ArtifactError, Fingerprint};
use crate::kernel::Module;
use crate::tool;

/// Where modules are put.
const MODULES: &str = "/lib/modules";
/// How many symbolic links a path may lead through (Linux `MAXSYMLINKS`).
const LINKS: u32 = 40;
/// The loader's cache.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// A member of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        contents: Vec<u8>,
    },
    /// A file of this machine, which is read when the archive is written.
    HostFile(PathBuf),
    Link(String),
    CharacterDevice {
        mode: u32,
        device: (u32, u32),
    },
}

/// The files of an initramfs: programs of this machine with their libraries, at their own paths, and others.
///
/// Equal inputs make equal archives: members are sorted, owned by root, and without times. `/bin`, `/sbin`, `/lib` and
/// `/lib64` are links into `/usr`. A file that is added again replaces the one before; busybox's commands give way to
/// programs of the same name.
#[derive(Debug, Clone, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
    /// Commands of busybox.
    applets: Vec<String>,
    is_appended: bool,
}

impl Initramfs {
    /// An initramfs without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that follows another, which has the links into `/usr`.
    pub fn appended() -> Self {
        Self {
            is_appended: true,
            ..Self::default()
        }
    }

    /// Adds a directory.
    ///
    /// # Errors
    ///
    /// The path has a `..`, or leads through too many links.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<&mut Self, ImageError> {
        self.insert(path, Entry::Directory { mode })
    }

    /// Adds a file with these contents.
    ///
    /// # Errors
    ///
    /// Those of [`directory`](Self::directory).
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        contents: impl Into<Vec<u8>>,
    ) -> Result<&mut Self, ImageError> {
        let contents = contents.into();
        self.insert(path, Entry::File { mode, contents })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    ///
    /// Those of [`directory`](Self::directory).
    pub fn symlink(&mut self, path: &str, to: &str) -> Result<&mut Self, ImageError> {
        self.insert(path, Entry::Link(to.to_owned()))
    }

    /// Adds the special file of a character device.
    ///
    /// # Errors
    ///
    /// Those of [`directory`](Self::directory).
    pub fn character_device(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
    ) -> Result<&mut Self, ImageError> {
        self.insert(path, Entry::CharacterDevice { mode, device })
    }

    /// Adds a copy of a file or of a directory with all that is in it, with their modes. Links inside stay links.
    ///
    /// # Errors
    ///
    /// Those of [`directory`](Self::directory); something cannot be read; or it is neither file, directory nor link.
    pub fn copy(&mut self, path: &str, source: &Path) -> Result<&mut Self, ImageError> {
        let unreadable = |error| ArtifactError::new("read", source, error);
        let metadata = fs::metadata(source).map_err(unreadable)?;
        self.copy_as(path, source, &metadata)
    }

    fn copy_as(
        &mut self,
        path: &str,
        source: &Path,
        metadata: &fs::Metadata,
    ) -> Result<&mut Self, ImageError> {
        let unreadable = |error| ArtifactError::new("read", source, error);
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(source).map_err(unreadable)?;
            return self.symlink(path, &target.to_string_lossy());
        }
        if kind.is_file() {
            return self.insert(path, Entry::HostFile(source.to_path_buf()));
        }
        if !kind.is_dir() {
            return Err(ImageError::Special(source.to_path_buf()));
        }
        let mode = metadata.permissions().mode() & 0o7777;
        self.directory(path, mode)?;
        for entry in fs::read_dir(source).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let metadata = entry.metadata().map_err(unreadable)?;
            let kind = metadata.file_type();
            if kind.is_socket() || kind.is_fifo() {
                continue;
            }
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            self.copy_as(&path, &entry.path(), &metadata)?;
        }
        Ok(self)
    }

    /// Adds a program of this machine by its name in `PATH` or its path, with its libraries; for a script, with its
    /// interpreter. All keep their paths.
    ///
    /// # Errors
    ///
    /// The program or a library is missing, or cannot be read.
    pub fn program(&mut self, program: &str) -> Result<&mut Self, ImageError> {
        let path = if program.contains('/') {
            PathBuf::from(program)
        } else {
            tool::find(program).ok_or_else(|| ImageError::NoProgram(program.to_owned()))?
        };
        self.host_program(&path)
    }

    /// Adds a program by its path on this machine, as [`program`](Self::program) does.
    ///
    /// # Errors
    ///
    /// Those of [`program`](Self::program).
    pub fn host_program(&mut self, path: &Path) -> Result<&mut Self, ImageError> {
        let path =
            std::path::absolute(path).map_err(|error| ArtifactError::new("read", path, error))?;
        self.libraries(&path)?;
        self.keep(&path)
    }

    /// Adds a program of this machine at another path, with its libraries at their own.
    ///
    /// # Errors
    ///
    /// Those of [`program`](Self::program).
    pub fn program_at(&mut self, path: &str, source: &Path) -> Result<&mut Self, ImageError> {
        self.libraries(source)?;
        self.copy(path, source)
    }

    fn libraries(&mut self, program: &Path) -> Result<(), ImageError> {
        for library in libraries::of(program)? {
            if libraries::is_by_configuration(&library) && Path::new(LOADER_CACHE).is_file() {
                self.keep(Path::new(LOADER_CACHE))?;
            }
            self.keep(&library)?;
        }
        Ok(())
    }

    /// Adds a file of this machine at its own path, with each symbolic link that leads there.
    fn keep(&mut self, path: &Path) -> Result<&mut Self, ImageError> {
        let mut links = LINKS;
        let mut done = PathBuf::from("/");
        let mut left: Vec<_> = parts(path);
        while let Some(part) = left.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let candidate = done.join(&part);
            let unreadable = |error| ArtifactError::new("read", &candidate, error);
            let metadata = fs::symlink_metadata(&candidate).map_err(unreadable)?;
            if !metadata.is_symlink() {
                done = candidate;
                continue;
            }
            links = links
                .checked_sub(1)
                .ok_or_else(|| ImageError::Links(path.display().to_string()))?;
            let target = fs::read_link(&candidate).map_err(unreadable)?;
            let shown = candidate.to_string_lossy();
            // Those of the root are there.
            if !MERGED.contains(&shown.trim_start_matches('/')) {
                self.symlink(&shown, &target.to_string_lossy())?;
            }
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        self.insert(&done.to_string_lossy(), Entry::HostFile(done.clone()))
    }

    /// Adds busybox, with a link for each of its commands that no program of the same name replaces.
    ///
    /// # Errors
    ///
    /// Its file cannot be read.
    pub fn busybox(&mut self, busybox: &Busybox) -> Result<&mut Self, ImageError> {
        self.program_at("/bin/busybox", busybox.program())?;
        self.applets = busybox.applets().to_vec();
        Ok(self)
    }

    /// Adds what an init needs first: its directories, a console, and `/dev/null`.
    ///
    /// # Errors
    ///
    /// None.
    pub fn skeleton(&mut self) -> Result<&mut Self, ImageError> {
        for directory in ["/dev", "/mnt", "/proc", "/run", "/sys"] {
            self.directory(directory, 0o755)?;
        }
        self.directory("/root", 0o700)?;
        self.directory("/tmp", 0o1777)?;
        self.character_device("/dev/console", 0o600, (5, 1))?;
        self.character_device("/dev/null", 0o666, (1, 3))
    }

    /// Adds modules, and a file at the path `list` with their paths in load order, one a line.
    ///
    /// # Errors
    ///
    /// Those of [`file`](Self::file).
    pub fn modules(&mut self, modules: &[Module], list: &str) -> Result<&mut Self, ImageError> {
        let mut paths = String::new();
        for module in modules {
            let path = format!("{MODULES}/{}.ko", module.name);
            self.file(&path, 0o644, module.contents.clone())?;
            paths.push_str(&path);
            paths.push('\n');
        }
        self.file(list, 0o644, paths)
    }

    /// Whether something is at this path.
    pub fn contains(&self, path: &str) -> bool {
        self.place(path)
            .is_ok_and(|path| self.entries.contains_key(&path))
    }

    /// Paths of all members that were added, without parent directories.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A fingerprint of all that it is made of: this machine's files by their paths, sizes and times.
    ///
    /// # Errors
    ///
    /// A file is gone.
    pub fn fingerprint(&self) -> Result<Fingerprint, ArtifactError> {
        let mut inputs = Fingerprint::new().value(("initramfs 1", &self.applets, self.is_appended));
        for (path, entry) in &self.entries {
            inputs = inputs.value(path);
            inputs = match entry {
                Entry::Directory { mode } => inputs.value((0, mode)),
                Entry::File { mode, contents } => inputs.value((1, mode, contents)),
                Entry::HostFile(source) => inputs.value(2).file(source)?,
                Entry::Link(target) => inputs.value((3, target)),
                Entry::CharacterDevice { mode, device } => inputs.value((4, mode, device)),
            };
        }
        Ok(inputs)
    }

    /// The SHA-256 hash of the archive, in hexadecimal: equal for equal contents, wherever they come from.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn digest(&self) -> io::Result<String> {
        let mut archive = Archive::new(HashWriter(Sha256::new()));
        self.write(&mut archive)?;
        let hash = archive.finish()?.0.finalize();
        Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the destination's.
    pub fn write<W: Write>(&self, archive: &mut Archive<W>) -> io::Result<()> {
        if !self.is_appended {
            archive.merged_usr()?;
        }
        let applets = self.applets.iter().filter(|applet| !self.is_taken(applet));
        let applets: BTreeMap<String, Entry> = applets
            .map(|applet| {
                let link = Entry::Link("/usr/bin/busybox".to_owned());
                (format!("usr/bin/{applet}"), link)
            })
            .collect();
        let mut all: BTreeMap<&String, &Entry> = applets.iter().collect();
        all.extend(&self.entries);
        for (path, entry) in all {
            match entry {
                Entry::Directory { mode } => archive.directory_with_mode(path, *mode)?,
                Entry::File { mode, contents } => archive.file(path, *mode, contents)?,
                Entry::HostFile(source) => archive.copy(path, source).map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", source.display()))
                })?,
                Entry::Link(target) => archive.symlink(path, target)?,
                Entry::CharacterDevice { mode, device } => {
                    archive.character_device(path, *mode, *device)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the archive to a new file.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn write_file(&self, to: &Path) -> Result<(), ArtifactError> {
        write_archive(to, |archive: &mut FileArchive| self.write(archive))
    }

    /// Writes a new file of an initramfs, compressed or not, and this archive behind it: the kernel unpacks both.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn write_behind(&self, first: &Path, to: &Path) -> Result<(), ArtifactError> {
        let write = || -> io::Result<()> {
            let mut output = BufWriter::new(File::create(to)?);
            let length = io::copy(&mut File::open(first)?, &mut output)?;
            // Archives begin at multiples of four bytes.
            let padding = length.next_multiple_of(4) - length;
            io::copy(&mut io::repeat(0).take(padding), &mut output)?;
            let mut archive = Archive::new(output);
            self.write(&mut archive)?;
            archive.finish().map(drop)
        };
        write().map_err(|error| ArtifactError::new("write", to, error))
    }

    /// The archive's file in a cache, written there unless it exists.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written.
    pub fn cached(&self, cache: &Cache) -> Result<PathBuf, ArtifactError> {
        cache.ensure("initramfs", &self.fingerprint()?, ".cpio", |to| {
            self.write_file(to)
        })
    }

    /// Whether a program replaces a command of busybox.
    fn is_taken(&self, applet: &str) -> bool {
        ["usr/bin/", "usr/sbin/", "usr/local/bin/"]
            .iter()
            .any(|directory| self.entries.contains_key(&format!("{directory}{applet}")))
    }

    fn insert(&mut self, path: &str, entry: Entry) -> Result<&mut Self, ImageError> {
        let path = self.place(path)?;
        self.entries.insert(path, entry);
        Ok(self)
    }

    /// The member that a path means, through the links to directories above it.
    fn place(&self, path: &str) -> Result<String, ImageError> {
        let invalid = |error: io::Error| ImageError::Path(error.to_string());
        let mut path = member_name(path).map_err(invalid)?;
        for _ in 0..LINKS {
            let link =
                path.match_indices('/')
                    .find_map(|(at, _)| match self.entries.get(&path[..at]) {
                        Some(Entry::Link(target)) => Some((at, target)),
                        _ => None,
                    });
            let Some((at, target)) = link else {
                return Ok(path);
            };
            let rest = &path[at..];
            let joined = match path[..at].rsplit_once('/') {
                Some((parent, _)) if !target.starts_with('/') => format!("{parent}/{target}{rest}"),
                _ => format!("{target}{rest}"),
            };
            path = member_name(&without_dots(&joined)).map_err(invalid)?;
        }
        Err(ImageError::Links(path))
    }
}

/// Hashes what is written.
struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts
}

/// A path without `..`, which leads from a resolved directory to the one above.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
pub(crate) mod tests;
