//! Fetches QEMU's schema from its source package, to `target/guest/cache/`. apt's own state is not touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultvisor_harness::image::{sources, suite};

use crate::artifact::{self, ArtifactError, Fingerprint};
use crate::debian::{DebianError, SUITE};
use crate::guest;
use crate::packages::{self, PackagesError};
use crate::tool;
use crate::workspace::Workspace;

/// The version in the monitor's greeting, without its last number.
pub const VERSION: &str = "10.0";

/// The source package.
const PACKAGE: &str = "qemu";

/// The suites with this version: backports may have moved on, the release stays.
const SUITES: [&str; 2] = ["bookworm-backports", "trixie"];

/// QEMU's schema on this machine: a directory with QEMU's `VERSION` and its `qapi`.
#[derive(Debug, Clone)]
pub struct QemuSchema {
    directory: PathBuf,
}

impl QemuSchema {
    /// The schema in a directory that [`fetch`] has made.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The schema's first file.
    pub fn file(&self) -> PathBuf {
        self.directory.join("qapi/qapi-schema.json")
    }

    /// QEMU's version, such as `10.0.2`.
    ///
    /// # Errors
    ///
    /// Its file cannot be read.
    pub fn version(&self) -> std::io::Result<String> {
        let version = fs::read_to_string(self.directory.join("VERSION"))?;
        Ok(version.trim().to_owned())
    }
}

/// Fetches the schema, unless it exists.
///
/// # Errors
///
/// It cannot be fetched, for example without a network.
pub fn fetch(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<QemuSchema, DebianError> {
    let cache = workspace.guest_directory().join("cache");
    let directory = cache.join("qemu-schema");
    let inputs = Fingerprint::new().value((VERSION, PACKAGE));
    artifact::ensure(&directory, &inputs, |to| -> Result<(), DebianError> {
        note(&format!(
            "fetching the source of QEMU {VERSION} for its schema"
        ));
        packages::ensure_installed(&[packages::XZ], note)?;
        fs::create_dir_all(&cache).map_err(|error| ArtifactError::new("create", &cache, error))?;
        let keyring = suite::keyring(&guest::cache(workspace), note)?;
        let apt = tempfile::tempdir_in(&cache)
            .map_err(|error| ArtifactError::new("create a directory in", &cache, error))?;
        let archive = archive(apt.path(), &keyring)?;
        fs::create_dir_all(to).map_err(|error| ArtifactError::new("create", to, error))?;
        let mut tar = tool::command("tar")?;
        tar.arg("-xf").arg(archive).arg("-C").arg(to);
        tar.args([
            "--strip-components=1",
            "--wildcards",
            "*/VERSION",
            "*/qapi/*.json",
        ]);
        Ok(tool::run(&mut tar)?)
    })?;
    Ok(QemuSchema { directory })
}

/// Downloads the source's archive into a directory of its own, which holds apt's state, too.
fn archive(directory: &Path, keyring: &Path) -> Result<PathBuf, DebianError> {
    let unknown = || {
        PackagesError::Unknown(format!(
            "the source of {PACKAGE}, for want of a mirror of Debian"
        ))
    };
    let mirror = sources::mirror(SUITE, keyring)?.ok_or_else(unknown)?;
    let lines = SUITES.map(|suite| {
        let keyring = keyring.display();
        format!("deb-src [signed-by={keyring}] {mirror} {suite} main\n")
    });
    for name in ["state", "lists/partial", "cache/archives/partial"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).map_err(|error| ArtifactError::new("create", &path, error))?;
    }
    let list = directory.join("sources.list");
    fs::write(&list, lines.concat()).map_err(|error| ArtifactError::new("write", &list, error))?;
    tool::run(apt("apt-get", directory)?.arg("update"))?;
    let mut showsrc = apt("apt-cache", directory)?;
    let shown = tool::output(showsrc.args(["showsrc", "--only-source", PACKAGE]))?;
    let version = newest_of(VERSION, &String::from_utf8_lossy(&shown))
        .ok_or_else(|| PackagesError::Unknown(format!("the source of {PACKAGE} {VERSION}")))?;
    let mut source = apt("apt-get", directory)?;
    // Only the upstream archive: the rest is Debian's.
    source.args(["source", "--download-only", "--tar-only"]);
    tool::run(source.arg(format!("{PACKAGE}={version}")))?;
    let is_archive = |path: &PathBuf| path.to_string_lossy().contains(".orig.tar.");
    let unreadable = |error| ArtifactError::new("read", directory, error);
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(is_archive);
    Ok(found.ok_or_else(|| PackagesError::Lacks {
        package: format!("{PACKAGE} {version}"),
        file: "*.orig.tar.*".to_owned(),
    })?)
}

/// A program of apt's that knows only the sources in this directory, and writes only there.
fn apt(program: &str, directory: &Path) -> Result<Command, DebianError> {
    let mut command = tool::command(program)?;
    command.current_dir(directory).env("LC_ALL", "C");
    let within = |name: &str| directory.join(name).display().to_string();
    for (option, value) in [
        ("Dir::Etc::SourceList", within("sources.list")),
        ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
        ("Dir::State", within("state")),
        ("Dir::State::Lists", within("lists")),
        ("Dir::State::Status", "/dev/null".to_owned()),
        ("Dir::Cache", within("cache")),
        // apt's sandbox user cannot write to a private directory, and warns about it.
        ("APT::Sandbox::User", "root".to_owned()),
    ] {
        command.arg("-o").arg(format!("{option}={value}"));
    }
    Ok(command)
}

/// The first version of a package that begins with `wanted`, in apt's list of sources.
fn newest_of(wanted: &str, shown: &str) -> Option<String> {
    let versions = shown
        .lines()
        .filter_map(|line| line.strip_prefix("Version: "));
    let is_wanted = |version: &&str| {
        let upstream = version.split_once(':').map_or(*version, |(_, rest)| rest);
        let rest = upstream.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.starts_with(['.', '+', '-']))
    };
    let mut versions = versions.filter(is_wanted);
    versions.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_the_wanted_version_is_found_among_others() {
        let shown = "Package: qemu\nVersion: 1:10.1.2+ds-1\n\nPackage: qemu\nVersion: 1:10.0.2+ds-2~bpo12+1\n";
        assert_eq!(
            newest_of("10.0", shown).as_deref(),
            Some("1:10.0.2+ds-2~bpo12+1")
        );
        assert_eq!(newest_of("1.0", shown), None);
        assert_eq!(newest_of("10", "Version: 100.1\n"), None);
    }
}
