//! What one run adds to the lab.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use super::Images;
use crate::artifact::ArtifactError;
use crate::guest::{GuestImages, Tools};
use crate::tool;
use faultvisor_harness::image::archive::FileArchive;

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

    /// Adds a program built here at `path` in the lab, stripped of debugging information, and its libraries at their
    /// own paths.
    pub fn built(&mut self, path: &str, source: &Path) -> Result<(), ArtifactError> {
        let mut add = || {
            // Part of the toolchain that linked the program.
            let stripped = tempfile::NamedTempFile::new()?.into_temp_path();
            let mut strip = tool::command("strip").map_err(io::Error::other)?;
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

    /// Adds the guest's kernel and initramfs, and returns their paths in the lab.
    pub fn guest(&mut self, images: &GuestImages) -> Result<GuestImages, ArtifactError> {
        let inside = GuestImages::at("/payload/guest");
        let pairs = [
            (inside.bzimage(), images.bzimage()),
            (inside.vmlinux(), images.vmlinux()),
            (inside.initramfs(), images.initramfs()),
            (
                inside.tools(Tools::E2fsprogs),
                images.tools(Tools::E2fsprogs),
            ),
        ];
        for (to, from) in pairs {
            self.copy(&to.to_string_lossy(), &from)?;
        }
        Ok(inside)
    }

    /// Adds the optional programs for guests that exist, beside [`guest`](Self::guest).
    pub fn optional_tools(
        &mut self,
        images: &GuestImages,
        inside: &GuestImages,
    ) -> Result<(), ArtifactError> {
        for tools in Tools::OPTIONAL {
            let source = images.tools(tools);
            if source.exists() {
                self.copy(&inside.tools(tools).to_string_lossy(), &source)?;
            }
        }
        Ok(())
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
