//! A suite of Debian with a list of packages, installed by mmdebstrap.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ImageError, sources};
use crate::cache::Cache;
use crate::cache::artifact::{self, ArtifactError, Fingerprint};
use crate::packages::{self, MMDEBSTRAP, PackagesError};
use crate::tool;

/// Debian's archive keys, where they are installed.
const KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";
const KEYRING_PACKAGE: &str = "debian-archive-keyring";
/// What mmdebstrap adds to a suite.
const VARIANT: &str = "minbase";

/// Debian's archive keys: this machine's, or from their package.
///
/// # Errors
///
/// The package cannot be obtained.
pub fn keyring(cache: &Cache, note: &dyn Fn(&str)) -> Result<PathBuf, PackagesError> {
    let installed = Path::new("/").join(KEYRING);
    if installed.is_file() {
        return Ok(installed);
    }
    let unpacked = packages::unpack(KEYRING_PACKAGE, cache, note)?;
    Ok(unpacked.root.join(KEYRING))
}

/// A suite of Debian, such as `bookworm`, and the packages of a system.
///
/// They come from this machine's mirror if it is a Debian, otherwise from mmdebstrap's default. An ordinary user needs
/// user namespaces for mmdebstrap.
#[derive(Debug, Clone)]
pub struct Suite {
    name: String,
    variant: String,
    packages: Vec<String>,
    keyring: PathBuf,
    /// Lines of a sources.list.
    sources: Option<String>,
    options: Vec<OsString>,
}

impl Suite {
    /// A suite by its name, with the least packages.
    ///
    /// # Errors
    ///
    /// apt fails, or Debian's keys cannot be obtained.
    pub fn new(
        name: impl Into<String>,
        cache: &Cache,
        note: &dyn Fn(&str),
    ) -> Result<Self, ImageError> {
        let name = name.into();
        let keyring = keyring(cache, note)?;
        Ok(Self {
            sources: sources::list(&name, &keyring)?,
            variant: VARIANT.to_owned(),
            packages: Vec::new(),
            options: Vec::new(),
            name,
            keyring,
        })
    }

    /// Adds packages, which come with what they depend on.
    #[must_use]
    pub fn packages<P: Into<String>>(mut self, packages: impl IntoIterator<Item = P>) -> Self {
        self.packages.extend(packages.into_iter().map(Into::into));
        self
    }

    /// Sets mmdebstrap's variant; the default is `minbase`.
    #[must_use]
    pub fn variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = variant.into();
        self
    }

    /// Leaves out the files below a directory.
    #[must_use]
    pub fn without(self, directory: &str) -> Self {
        self.option(format!("--dpkgopt=path-exclude={directory}/*"))
    }

    /// Runs a shell script when the packages are installed; `$1` is the directory with the system.
    #[must_use]
    pub fn customized(self, script: &str) -> Self {
        self.option(format!("--customize-hook={script}"))
    }

    /// Adds an option of mmdebstrap.
    #[must_use]
    pub fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Whether the packages come from this machine's mirror.
    pub fn has_sources(&self) -> bool {
        self.sources.is_some()
    }

    /// Adds the suite to a fingerprint.
    ///
    /// # Errors
    ///
    /// apt fails.
    pub fn add_to(&self, inputs: Fingerprint) -> Result<Fingerprint, ImageError> {
        let suite = (&self.name, &self.variant, &self.packages);
        Ok(inputs.value((suite, &self.sources, &self.options)))
    }

    /// Writes a tar archive of the system to a new file.
    ///
    /// # Errors
    ///
    /// mmdebstrap is missing (the message has the command that installs it) or fails.
    pub fn write_archive(&self, to: &Path, note: &dyn Fn(&str)) -> Result<(), ImageError> {
        note(&format!(
            "installing {}, which takes some minutes",
            self.name
        ));
        // mmdebstrap takes the format from the name.
        let list = artifact::with_suffix(to, ".sources.list");
        let result = tool::run(&mut self.command(to, &list)?);
        // The archive's error matters more.
        let _ = fs::remove_file(&list);
        Ok(result?)
    }

    fn command(&self, to: &Path, list: &Path) -> Result<Command, ImageError> {
        let mut command = tool::command(MMDEBSTRAP.program)?;
        // It starts a Python for each package: force the system's, not one from the user's path.
        let mut path = OsString::from("/usr/sbin:/usr/bin:/sbin:/bin:");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command.arg(format!("--variant={}", self.variant));
        command.args(["--architectures=amd64", "--format=tar"]);
        if !self.packages.is_empty() {
            command.arg(format!("--include={}", self.packages.join(",")));
        }
        for option in sources::apt_options()? {
            command.arg(format!("--aptopt={option}"));
        }
        command.args(&self.options);
        match &self.sources {
            Some(sources) => {
                fs::write(list, sources)
                    .map_err(|error| ArtifactError::new("write", list, error))?;
                command.arg(&self.name).arg(to).arg(list);
            }
            // mmdebstrap uses its default sources.
            None => {
                command.arg(format!("--keyring={}", self.keyring.display()));
                command.arg(&self.name).arg(to);
            }
        }
        Ok(command)
    }
}
