//! Initramfs archives in the "newc" cpio format (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Archives concatenate: the kernel unpacks one after the other, later files replacing earlier ones. Each is padded to
//! four bytes here, so that appending needs no care. They are uncompressed: unpacking costs more than reading if the
//! reader is emulated.
//!
//! `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`, as in distributions: [`Archive::merged_usr`] adds the
//! links, and every archive has such a path's file in `/usr`. A directory of that name in an appended archive would
//! replace the link.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::libraries;
use crate::cache::artifact::ArtifactError;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Directories of the root that are links to those of the same name in `/usr`.
pub(super) const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// An archive written to `W`. Parent directories are added with their files.
#[derive(Debug)]
pub struct Archive<W: Write> {
    to: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub fn new(to: W) -> Self {
        Self {
            to,
            inode: 0,
            directories: BTreeSet::new(),
        }
    }

    /// Adds the links of `/bin`, `/sbin`, `/lib` and `/lib64` into `/usr`.
    ///
    /// # Errors
    ///
    /// The destination's.
    pub fn merged_usr(&mut self) -> io::Result<()> {
        for name in MERGED {
            let target = format!("usr/{name}");
            self.directory(&target)?;
            self.member(name, SYMLINK | 0o777, target.as_bytes(), (0, 0))?;
        }
        Ok(())
    }

    /// Adds a directory of mode 755, and those above it.
    ///
    /// # Errors
    ///
    /// The path leaves the archive, or the destination's.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        let path = &member_name(path)?;
        if path.is_empty() || self.directories.contains(path.as_str()) {
            return Ok(());
        }
        self.parents(path)?;
        self.directories.insert(path.to_owned());
        self.header(path, DIRECTORY | 0o755, 0, (0, 0))
    }

    /// Adds a directory of another mode.
    ///
    /// # Errors
    ///
    /// The path leaves the archive, or the destination's.
    pub fn directory_with_mode(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let path = &member_name(path)?;
        self.parents(path)?;
        self.directories.insert(path.to_owned());
        self.header(path, DIRECTORY | mode, 0, (0, 0))
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// The path leaves the archive, the file is larger than 4 GiB, or the destination's.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        let path = &member_name(path)?;
        self.parents(path)?;
        self.member(path, REGULAR | mode, contents, (0, 0))
    }

    /// Adds a copy of a file of this machine, with its mode.
    ///
    /// # Errors
    ///
    /// Those of [`file`](Self::file), or the file cannot be read.
    pub fn copy(&mut self, path: &str, source: &Path) -> io::Result<()> {
        let mut file = File::open(source)?;
        let metadata = file.metadata()?;
        let size = u32::try_from(metadata.len()).map_err(|_| too_large(path))?;
        let path = &member_name(path)?;
        self.parents(path)?;
        self.header(
            path,
            REGULAR | (metadata.permissions().mode() & 0o777),
            size,
            (0, 0),
        )?;
        let copied = io::copy(&mut file, &mut self.to)?;
        if copied != u64::from(size) {
            return Err(io::Error::other(format!(
                "'{}' changed while it was read",
                source.display()
            )));
        }
        self.pad(copied)
    }

    /// Adds a program of this machine and its libraries, all at their own paths.
    ///
    /// # Errors
    ///
    /// Those of [`copy`](Self::copy), or a library is missing.
    pub fn program(&mut self, source: &Path) -> io::Result<()> {
        self.program_at(&source.to_string_lossy(), source)
    }

    /// Adds a program of this machine at `path`, and its libraries at their own paths.
    ///
    /// # Errors
    ///
    /// Those of [`copy`](Self::copy), or a library is missing.
    pub fn program_at(&mut self, path: &str, source: &Path) -> io::Result<()> {
        for library in libraries::of(source).map_err(io::Error::other)? {
            self.copy(&library.to_string_lossy(), &fs::canonicalize(&library)?)?;
        }
        self.copy(path, &fs::canonicalize(source)?)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    ///
    /// The path leaves the archive, or the destination's.
    pub fn symlink(&mut self, path: &str, to: &str) -> io::Result<()> {
        let path = &member_name(path)?;
        self.parents(path)?;
        self.member(path, SYMLINK | 0o777, to.as_bytes(), (0, 0))
    }

    /// Adds the special file of a character device.
    ///
    /// # Errors
    ///
    /// The path leaves the archive, or the destination's.
    pub fn character_device(
        &mut self,
        path: &str,
        mode: u32,
        (major, minor): (u32, u32),
    ) -> io::Result<()> {
        let path = &member_name(path)?;
        self.parents(path)?;
        self.header(path, CHARACTER_DEVICE | mode, 0, (major, minor))
    }

    /// Ends the archive and returns its destination.
    ///
    /// # Errors
    ///
    /// The destination's.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.header("TRAILER!!!", 0, 0, (0, 0))?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn member(
        &mut self,
        path: &str,
        mode: u32,
        contents: &[u8],
        device: (u32, u32),
    ) -> io::Result<()> {
        let size = u32::try_from(contents.len()).map_err(|_| too_large(path))?;
        self.header(path, mode, size, device)?;
        self.to.write_all(contents)?;
        self.pad(u64::from(size))
    }

    fn header(&mut self, path: &str, mode: u32, size: u32, device: (u32, u32)) -> io::Result<()> {
        self.inode += 1;
        let name_size = path.len() + 1;
        write!(self.to, "070701{:08X}{mode:08X}", self.inode)?;
        // Owner root, one link; times are 0, so that equal contents make equal archives.
        write!(self.to, "{:08X}{:08X}{:08X}{:08X}{size:08X}", 0, 0, 1, 0)?;
        write!(
            self.to,
            "{:08X}{:08X}{:08X}{:08X}{name_size:08X}{:08X}",
            0, 0, device.0, device.1, 0
        )?;
        self.to.write_all(path.as_bytes())?;
        self.to.write_all(&[0])?;
        self.pad(110 + name_size as u64)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let padding: &[u8] = match length % 4 {
            1 => &[0; 3],
            2 => &[0; 2],
            3 => &[0; 1],
            _ => &[],
        };
        self.to.write_all(padding)
    }
}

/// The name of the member for a path: relative to the root, in `/usr` if a link leads there.
///
/// # Errors
///
/// The path leaves the root.
pub(super) fn member_name(path: &str) -> io::Result<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                let message =
                    format!("'{path}' has a '..', which a path in an archive cannot have");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            part => parts.push(part),
        }
    }
    if parts.first().is_some_and(|first| MERGED.contains(first)) {
        parts.insert(0, "usr");
    }
    Ok(parts.join("/"))
}

fn too_large(path: &str) -> io::Error {
    io::Error::other(format!(
        "'{path}' is larger than the 4 GiB of a cpio member"
    ))
}

/// An archive written to a file.
pub type FileArchive = Archive<BufWriter<File>>;

/// Writes one archive to a new file at `path`.
///
/// # Errors
///
/// Those of `fill`, or the file cannot be written.
pub fn write_archive(
    path: &Path,
    fill: impl FnOnce(&mut FileArchive) -> io::Result<()>,
) -> Result<(), ArtifactError> {
    let write = || {
        let mut archive = Archive::new(BufWriter::new(File::create(path)?));
        fill(&mut archive)?;
        archive.finish().map(drop)
    };
    write().map_err(|error| ArtifactError::new("write", path, error))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Name, mode, and contents of every member, read by the rules of the format.
    pub(crate) fn members(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16)
                    .unwrap()
            };
            assert_eq!(&archive[at..at + 6], b"070701");
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(archive[at + 110..at + 109 + name_size].to_vec()).unwrap();
            let data = (at + 110 + name_size).next_multiple_of(4);
            at = (data + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, archive.len());
                return found;
            }
            found.push((name, mode, archive[data..data + size].to_vec()));
        }
    }

    #[test]
    fn an_archive_reads_back_as_written() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/init", 0o755, b"#!/bin/sh\n").unwrap();
        archive.symlink("/bin/sh", "busybox").unwrap();
        archive
            .character_device("/dev/console", 0o600, (5, 1))
            .unwrap();
        archive.file("/bin/a/b", 0o644, b"").unwrap();
        let names_and_modes = [
            ("init", 0o100_755, b"#!/bin/sh\n".as_slice()),
            ("usr", 0o040_755, b""),
            ("usr/bin", 0o040_755, b""),
            ("usr/bin/sh", 0o120_777, b"busybox"),
            ("dev", 0o040_755, b""),
            ("dev/console", 0o020_600, b""),
            ("usr/bin/a", 0o040_755, b""),
            ("usr/bin/a/b", 0o100_644, b""),
        ];
        let expected: Vec<_> = names_and_modes
            .map(|(name, mode, data)| (name.to_owned(), mode, data.to_vec()))
            .into_iter()
            .collect();
        assert_eq!(members(&archive.finish().unwrap()), expected);
    }

    #[test]
    fn a_program_comes_with_the_libraries_that_it_loads() {
        let this_program = std::env::current_exe().unwrap();
        let mut archive = Archive::new(Vec::new());
        archive.program_at("/test/program", &this_program).unwrap();
        let members = members(&archive.finish().unwrap());
        let has = |end: &str| members.iter().any(|(name, ..)| name.ends_with(end));
        assert!(has("test/program") && has("libc.so.6") && has("ld-linux-x86-64.so.2"));
    }

    #[test]
    fn a_path_that_a_link_leads_elsewhere_has_its_file_there() {
        let mut archive = Archive::new(Vec::new());
        archive.merged_usr().unwrap();
        archive.file("//lib64/./ld.so", 0o755, b"").unwrap();
        assert!(archive.file("/tmp/../lib", 0o755, b"").is_err());
        let names: Vec<_> = members(&archive.finish().unwrap())
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        let expected = [
            "usr",
            "usr/bin",
            "bin",
            "usr/sbin",
            "sbin",
            "usr/lib",
            "lib",
            "usr/lib64",
            "lib64",
            "usr/lib64/ld.so",
        ];
        assert_eq!(names, expected);
    }
}
