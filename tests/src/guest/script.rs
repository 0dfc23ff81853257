//! The script of a test's guest.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use super::{GuestImages, Tools};
use crate::artifact::{self, ArtifactError};
use faultvisor_harness::image::archive::Archive;

/// How the guest ends after its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// `reboot -f`: by the method in the kernel's parameter `reboot=`. Ends a VMM with `--no-reboot`.
    #[default]
    Reboot,
    /// `poweroff -f`: needs ACPI.
    PowerOff,
    /// `halt -f`: the vCPU halts for ever, the VMM stays.
    Halt,
    /// The guest idles; the test ends the VMM.
    Stay,
}

impl Ending {
    fn command(self) -> &'static str {
        match self {
            Self::Reboot => "reboot -f",
            Self::PowerOff => "poweroff -f",
            Self::Halt => "halt -f",
            Self::Stay => "true",
        }
    }
}

/// A shell script for the guest's busybox, the files that it needs, and how the guest ends after it.
///
/// The guest's console shows the script's output, then a line `FV-EXIT <status>`.
#[derive(Clone, Default)]
pub struct Script {
    text: String,
    ending: Ending,
    files: Vec<(String, Vec<u8>)>,
    programs: Vec<(String, PathBuf)>,
    tools: Vec<Tools>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({:?}, then {:?})", self.text, self.ending)
    }
}

impl Script {
    /// A script for `sh`, run in /tmp with the disks' modules loaded.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Sets how the guest ends; the default is `reboot -f`.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Adds a file, which the script finds in /test.
    #[must_use]
    pub fn file(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), contents.into()));
        self
    }

    /// Adds a program with its libraries, which the script finds in /test.
    #[must_use]
    pub fn program(mut self, name: &str, source: impl Into<PathBuf>) -> Self {
        self.programs.push((name.to_owned(), source.into()));
        self
    }

    /// Adds a set of programs.
    #[must_use]
    pub fn with(mut self, tools: Tools) -> Self {
        self.tools.push(tools);
        self
    }

    /// Writes the guest's initramfs with this script in it.
    pub fn write(&self, images: &GuestImages, to: &Path) -> Result<(), ArtifactError> {
        artifact::replace(to, |temporary| {
            self.write_to(images, temporary)
                .map_err(|error| ArtifactError::new("write", to, error))
        })
    }

    fn write_to(&self, images: &GuestImages, to: &Path) -> io::Result<()> {
        let mut output = BufWriter::new(File::create(to)?);
        io::copy(&mut File::open(images.initramfs())?, &mut output)?;
        for tools in &self.tools {
            io::copy(&mut File::open(images.tools(*tools))?, &mut output)?;
        }
        let mut archive = Archive::new(output);
        archive.file("/test/run", 0o755, self.text.as_bytes())?;
        archive.file("/test/end", 0o644, self.ending.command().as_bytes())?;
        for (name, contents) in &self.files {
            archive.file(&format!("/test/{name}"), 0o644, contents)?;
        }
        for (name, source) in &self.programs {
            archive.program_at(&format!("/test/{name}"), source)?;
        }
        archive.finish().map(drop)
    }
}
