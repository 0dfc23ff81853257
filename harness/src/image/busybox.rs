//! busybox: the small programs of a guest, in one.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::cache::artifact::Fingerprint;
use crate::packages::{self, BUSYBOX, PackagesError};
use crate::tool;

/// A busybox of this machine or of its distribution's archive.
#[derive(Debug, Clone)]
pub struct Busybox {
    program: PathBuf,
    applets: Vec<String>,
    /// Changes with its contents.
    fingerprint: Fingerprint,
}

impl Busybox {
    /// The static busybox of the distribution, fetched into `cache` unless it exists.
    ///
    /// # Errors
    ///
    /// Its package cannot be obtained, or the program does not run.
    pub fn fetch(cache: &Cache, note: &dyn Fn(&str)) -> Result<Self, PackagesError> {
        let unpacked = packages::unpack(BUSYBOX.package, cache, note)?;
        let program = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.root.join(path));
        let program = program
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| PackagesError::Lacks {
                package: BUSYBOX.package.to_owned(),
                file: "bin/busybox".to_owned(),
            })?;
        let fingerprint = Fingerprint::new().value((BUSYBOX.package, unpacked.version));
        Self::with_commands(program, fingerprint)
    }

    /// The busybox that is installed, or else that of the distribution's archive.
    ///
    /// # Errors
    ///
    /// There is neither; the message has the command that installs it.
    pub fn find(cache: &Cache, note: &dyn Fn(&str)) -> Result<Self, PackagesError> {
        let Some(program) = tool::find(BUSYBOX.program) else {
            return Self::fetch(cache, note).map_err(|cause| PackagesError::NoProgram {
                requirement: BUSYBOX,
                cause: Box::new(cause),
            });
        };
        Self::at(&program)
    }

    /// A busybox by its path on this machine.
    ///
    /// # Errors
    ///
    /// The program does not run.
    pub fn at(program: &Path) -> Result<Self, PackagesError> {
        let fingerprint = Fingerprint::new().file(program)?;
        Self::with_commands(program.to_path_buf(), fingerprint)
    }

    fn with_commands(program: PathBuf, fingerprint: Fingerprint) -> Result<Self, PackagesError> {
        let applets = tool::output(Command::new(&program).arg("--list"))?;
        let applets = String::from_utf8_lossy(&applets)
            .lines()
            .filter(|applet| *applet != BUSYBOX.program)
            .map(str::to_owned)
            .collect();
        Ok(Self {
            program,
            applets,
            fingerprint,
        })
    }

    /// Its file on this machine.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The names of its commands.
    pub fn applets(&self) -> &[String] {
        &self.applets
    }

    /// A fingerprint of what is made with it.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}
