//! What one run adds to the lab.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use super::Images;
use crate::cache::artifact::ArtifactError;
use crate::image::archive::FileArchive;
use crate::tool;

/// Files for the lab, and its script. The temporary file that holds them is removed on drop.
#[derive(Debug)]
pub struct Payload {
    archive: FileArchive,
    file: tempfile::TempPath,
}

impl Payload {
    /// An empty payload on top of the lab's own initramfs.
    pub fn new(images: &Images) -> Result<Self, ArtifactError> {
        let failed = |error| ArtifactError::new("write a payload in", &images.directory, error);
        let (file, path) = tempfile::Builder::new()
            .prefix("payload-")
            .suffix(".cpio")
            .tempfile_in(&images.directory)
            .map_err(failed)?
            .into_parts();
        let start = || -> io::Result<FileArchive> {
            let mut output = BufWriter::new(file);
            io::copy(&mut File::open(images.initramfs())?, &mut output)?;
            Ok(FileArchive::new(output))
        };
        Ok(Self {
            archive: start().map_err(failed)?,
            file: path,
        })
    }

    /// Adds a copy of a file at `path` in the lab.
    pub fn copy(&mut self, path: &str, source: &Path) -> Result<(), ArtifactError> {
        self.archive
            .copy(path, source)
            .map_err(|error| ArtifactError::new("copy", source, error))
    }

    /// Adds a program built here at `path` in the lab, stripped of debugging information where there is a `strip`, and
    /// its libraries at their own paths.
    pub fn built(&mut self, path: &str, source: &Path) -> Result<(), ArtifactError> {
        let mut add = || {
            // Part of the toolchain that linked the program.
            let Ok(mut strip) = tool::command("strip") else {
                return self.archive.program_at(path, source);
            };
            let stripped = tempfile::NamedTempFile::new()?.into_temp_path();
            strip.arg("--strip-debug").arg("-o").arg(&stripped);
            tool::run(strip.arg(source)).map_err(io::Error::other)?;
            self.archive.program_at(path, &stripped)
        };
        add().map_err(|error| ArtifactError::new("copy", source, error))
    }

    /// Adds a file at `path` in the lab.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<(), ArtifactError> {
        let written = self.archive.file(path, mode, contents);
        written.map_err(|error| ArtifactError::new("write", Path::new(path), error))
    }

    /// Adds an installed program with its libraries, all at their own paths.
    pub fn program(&mut self, source: &Path) -> Result<(), ArtifactError> {
        self.archive
            .program(source)
            .map_err(|error| ArtifactError::new("copy", source, error))
    }

    /// Ends the payload with the shell script that the lab runs, in /tmp.
    pub(super) fn finish(mut self, script: &str) -> Result<Initramfs, ArtifactError> {
        let file: PathBuf = self.file.to_path_buf();
        let failed = |error| ArtifactError::new("write", &file, error);
        self.archive
            .file("/payload/run", 0o755, script.as_bytes())
            .map_err(failed)?;
        self.archive.finish().map_err(failed)?;
        Ok(Initramfs(self.file))
    }
}

/// A complete initramfs for one run.
pub(super) struct Initramfs(tempfile::TempPath);

impl Initramfs {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}
