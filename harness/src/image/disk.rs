//! Disk images with a file system, made without root.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ImageError;
use super::overlay::Overlay;
use super::suite::Suite;
use crate::cache::Cache;
use crate::cache::artifact::{self, ArtifactError, Fingerprint, Stamp};
use crate::packages::{self, FAKEROOT, MKE2FS, QEMU_IMG, TAR};
use crate::tool::{self, ToolError};

/// The unit of a file's space, and of an image's size.
const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;
/// The least size of an image: the file system's own structures need some.
const LEAST: u64 = 16 * MIB;
/// Bytes of an image for each inode, unless it holds many small files (mke2fs.conf).
const BYTES_PER_INODE: u64 = 16384;
/// What an archive's device files take is privilege, and a kernel provides them.
const LEFT_OUT: [&str; 3] = ["--anchored", "--exclude=./dev/*", "--exclude=dev/*"];

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DiskFormat {
    /// The disk's bytes, in a sparse file.
    #[default]
    Raw,
    /// QEMU's format.
    Qcow2,
}

impl DiskFormat {
    /// Its name, as `--drive …,format=` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a disk's file system contains.
#[derive(Debug, Clone)]
enum Contents {
    Nothing,
    Directory(PathBuf),
    Archive(PathBuf),
    Suite(Suite),
}

/// A disk with an ext4 file system, without a partition table.
///
/// The files of a directory keep their owners; those of an archive have the owners that it names, also for an ordinary
/// user, who needs `fakeroot` for this.
#[derive(Debug, Clone)]
pub struct DiskImage {
    contents: Contents,
    size: Option<u64>,
    format: DiskFormat,
    label: Option<String>,
    changes: Vec<Change>,
}

/// What differs from the contents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Change {
    Write {
        path: String,
        mode: u32,
        contents: Vec<u8>,
    },
    Remove(String),
}

impl DiskImage {
    /// An empty file system.
    pub fn empty() -> Self {
        Self::of(Contents::Nothing)
    }

    /// The files of a directory.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::of(Contents::Directory(path.into()))
    }

    /// The files of a tar archive, compressed or not: of `docker export`, of mmdebstrap.
    pub fn archive(path: impl Into<PathBuf>) -> Self {
        Self::of(Contents::Archive(path.into()))
    }

    /// A suite of Debian or Ubuntu, with a list of packages.
    pub fn suite(suite: Suite) -> Self {
        Self::of(Contents::Suite(suite))
    }

    fn of(contents: Contents) -> Self {
        Self {
            contents,
            size: None,
            format: DiskFormat::Raw,
            label: None,
            changes: Vec::new(),
        }
    }

    /// Sets the disk's size in bytes, a multiple of 4096. By default it has a quarter more than its files take, and at
    /// least 16 MiB.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets the format of the image; the default is raw.
    #[must_use]
    pub fn format(mut self, format: DiskFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets the file system's label, of up to 16 bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Writes a file, in place of what the contents have there, owned by root.
    #[must_use]
    pub fn file(
        mut self,
        path: impl Into<String>,
        mode: u32,
        contents: impl Into<Vec<u8>>,
    ) -> Self {
        self.changes.push(Change::Write {
            path: path.into(),
            mode,
            contents: contents.into(),
        });
        self
    }

    /// Leaves out a file, if the contents have it.
    #[must_use]
    pub fn without(mut self, path: impl Into<String>) -> Self {
        self.changes.push(Change::Remove(path.into()));
        self
    }

    /// The image's file in `cache`, made unless it exists. It must not be written to: a copy is for that.
    ///
    /// # Errors
    ///
    /// A tool is missing (the message has the command that installs it) or fails, or a file cannot be read or written.
    pub fn cached(&self, cache: &Cache, note: &dyn Fn(&str)) -> Result<PathBuf, ImageError> {
        let suffix = match self.format {
            DiskFormat::Raw => ".img",
            DiskFormat::Qcow2 => ".qcow2",
        };
        cache.ensure("disks", &self.fingerprint()?, suffix, |to| {
            self.write(to, note)
        })
    }

    /// A fingerprint of all that it is made of: files by their paths, sizes, times and owners.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn fingerprint(&self) -> Result<Fingerprint, ImageError> {
        let settings = (self.size, self.format, &self.label, &self.changes);
        let inputs = Fingerprint::new().value(("disk 1", settings));
        Ok(match &self.contents {
            Contents::Nothing => inputs.value(0),
            Contents::Directory(path) => Tree::read(path)?.add_to(inputs.value(1)),
            Contents::Archive(path) => inputs.value(2).file(path)?,
            Contents::Suite(suite) => suite.add_to(inputs.value(3))?,
        })
    }

    /// Writes the image to a new file.
    ///
    /// # Errors
    ///
    /// Those of [`cached`](Self::cached).
    pub fn write(&self, to: &Path, note: &dyn Fn(&str)) -> Result<(), ImageError> {
        if let Contents::Suite(suite) = &self.contents {
            // What is made of the archive has another one.
            let scratch = Scratch::beside(to, ".suite")?;
            let archive = scratch.path().join("root.tar");
            suite.write_archive(&archive, note)?;
            note("making the disk image");
            return self.write_of_archive(&archive, to);
        }
        note("making the disk image");
        match &self.contents {
            Contents::Archive(path) => self.write_of_archive(path, to),
            Contents::Directory(path) if self.changes.is_empty() => {
                self.write_of_tree(path, to, &Owners::real())
            }
            Contents::Directory(path) => self.write_of_copy(path, to),
            _ => {
                let scratch = Scratch::beside(to, ".scratch")?;
                self.write_changed(&create(scratch.path(), "root")?, to, &Owners::real())
            }
        }
    }

    fn write_of_archive(&self, archive: &Path, to: &Path) -> Result<(), ImageError> {
        let scratch = Scratch::beside(to, ".scratch")?;
        let (tree, owners) = (
            create(scratch.path(), "root")?,
            Owners::any(scratch.path())?,
        );
        let mut unpack = owners.command(TAR.program)?;
        unpack.args(LEFT_OUT);
        unpack.args(["--numeric-owner", "-xpf"]).arg(archive);
        unpack.arg("-C").arg(&tree);
        tool::run(&mut unpack)?;
        self.write_changed(&tree, to, &owners)
    }

    fn write_of_copy(&self, directory: &Path, to: &Path) -> Result<(), ImageError> {
        let scratch = Scratch::beside(to, ".scratch")?;
        let (tree, owners) = (
            create(scratch.path(), "root")?,
            Owners::any(scratch.path())?,
        );
        let mut copy = owners.command("cp")?;
        copy.args(["-a", "--reflink=auto", "--"]);
        tool::run(copy.arg(directory.join(".")).arg(&tree))?;
        self.write_changed(&tree, to, &owners)
    }

    /// Makes the changes in a tree of this image's own.
    fn write_changed(&self, tree: &Path, to: &Path, owners: &Owners) -> Result<(), ImageError> {
        let unreadable = |error| ArtifactError::new("open", tree, error);
        let overlay = Overlay::open(tree).map_err(unreadable)?;
        for change in &self.changes {
            let (path, result) = match change {
                Change::Write {
                    path,
                    mode,
                    contents,
                } => (path, overlay.write(path, *mode, contents)),
                Change::Remove(path) => (path, overlay.remove(path)),
            };
            result.map_err(|error| ArtifactError::new("change", Path::new(path), error))?;
        }
        self.write_of_tree(tree, to, owners)
    }

    fn write_of_tree(&self, tree: &Path, to: &Path, owners: &Owners) -> Result<(), ImageError> {
        let files = Tree::read(tree)?;
        let size = self.size.unwrap_or_else(|| files.size());
        let mut mke2fs = owners.command(MKE2FS.program)?;
        mke2fs.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0"]);
        if let Some(label) = &self.label {
            mke2fs.arg("-L").arg(label);
        }
        if files.inodes() > size / BYTES_PER_INODE {
            mke2fs.arg("-N").arg(files.inodes().to_string());
        }
        mke2fs.arg("-d").arg(tree);
        let raw = match self.format {
            DiskFormat::Raw => to.to_path_buf(),
            DiskFormat::Qcow2 => artifact::with_suffix(to, ".raw.tmp"),
        };
        mke2fs.arg(&raw).arg(format!("{}k", size / 1024));
        tool::run(&mut mke2fs)?;
        if self.format == DiskFormat::Qcow2 {
            let mut convert = tool::command(QEMU_IMG.program)?;
            convert.args(["convert", "-f", "raw", "-O", "qcow2"]);
            let converted = tool::run(convert.arg(&raw).arg(to));
            // The conversion's own error matters more.
            let _ = fs::remove_file(&raw);
            converted?;
        }
        Ok(())
    }
}

/// Whom files belong to, for the programs that make them and read them.
struct Owners {
    /// An ordinary user cannot give files away: fakeroot records their owners here, from one program to the next.
    recorded: Option<PathBuf>,
}

impl Owners {
    /// As the host's file system has it.
    fn real() -> Self {
        Self { recorded: None }
    }

    /// Any, also for an ordinary user.
    fn any(scratch: &Path) -> Result<Self, ToolError> {
        if packages::is_root() {
            return Ok(Self::real());
        }
        tool::command(FAKEROOT.program)?;
        Ok(Self {
            recorded: Some(scratch.join("owners")),
        })
    }

    fn command(&self, program: &str) -> Result<Command, ToolError> {
        let command = tool::command(program)?;
        let Some(recorded) = &self.recorded else {
            return Ok(command);
        };
        let mut fakeroot = tool::command(FAKEROOT.program)?;
        if recorded.exists() {
            fakeroot.arg("-i").arg(recorded);
        }
        fakeroot.arg("-s").arg(recorded).arg("--");
        fakeroot.arg(command.get_program());
        Ok(fakeroot)
    }
}

fn create(parent: &Path, name: &str) -> Result<PathBuf, ArtifactError> {
    let path = parent.join(name);
    fs::create_dir(&path).map_err(|error| ArtifactError::new("create", &path, error))?;
    Ok(path)
}

/// A private directory beside a file, on the same file system: what is in it may become as large as the file. One that a
/// killed process left is removed.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(to: &Path, suffix: &str) -> Result<Self, ArtifactError> {
        let path = artifact::with_suffix(to, suffix);
        artifact::remove(&path)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| ArtifactError::new("create", &path, error))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one removes what stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The files of a directory.
#[derive(Debug, Default)]
struct Tree {
    /// The path below the directory, its owners, and its stamp.
    files: Vec<(PathBuf, [u32; 2], Stamp)>,
    links: Vec<PathBuf>,
    bytes: u64,
}

impl Tree {
    fn read(root: &Path) -> Result<Self, ArtifactError> {
        let mut tree = Self::default();
        tree.add(root, root)?;
        tree.files.sort();
        tree.links.sort();
        Ok(tree)
    }

    fn add(&mut self, root: &Path, directory: &Path) -> Result<(), ArtifactError> {
        let unreadable = |error| ArtifactError::new("read", directory, error);
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let metadata = entry.metadata().map_err(unreadable)?;
            let path = entry.path();
            // Files, directories, and links that are too long for their inode take whole blocks.
            self.bytes += metadata.len().next_multiple_of(BLOCK);
            let below = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            let owners = [metadata.uid(), metadata.gid()];
            self.files.push((below, owners, Stamp::of(&metadata)));
            if metadata.is_symlink() {
                self.links.push(fs::read_link(&path).map_err(unreadable)?);
            } else if metadata.is_dir() {
                self.add(root, &path)?;
            }
        }
        Ok(())
    }

    fn add_to(&self, inputs: Fingerprint) -> Fingerprint {
        let links: Vec<_> = self
            .links
            .iter()
            .map(|link| link.as_os_str().as_bytes())
            .collect();
        inputs.value((&self.files, links))
    }

    /// The size of a disk that holds them, with room.
    fn size(&self) -> u64 {
        let needed = self.bytes + self.inodes() * 256;
        (needed + needed / 4 + LEAST).next_multiple_of(MIB)
    }

    /// Inodes for them, with room.
    fn inodes(&self) -> u64 {
        let files = self.files.len() as u64;
        files + files / 4 + 64
    }
}

#[cfg(test)]
mod tests;
