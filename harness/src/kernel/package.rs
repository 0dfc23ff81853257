//! A kernel from the distribution's archive: its image and its modules, from their packages.

use std::path::PathBuf;

use super::{Kernel, KernelError, Modules};
use crate::cache::Cache;
use crate::cache::artifact::Fingerprint;
use crate::packages::{self, PackagesError, Unpacked};

/// Packages that depend on a kernel for virtual machines: Debian's, then Ubuntu's, then any.
const CANDIDATES: [&str; 5] = [
    "linux-image-cloud-amd64",
    "linux-image-kvm",
    "linux-image-virtual",
    "linux-image-generic",
    "linux-image-amd64",
];

/// Fetches the kernel of a package: of one that has a kernel's image, or depends on one; by default this machine's
/// distribution's for virtual machines.
pub(super) fn fetch(
    package: Option<&str>,
    cache: &Cache,
    note: &dyn Fn(&str),
) -> Result<Kernel, KernelError> {
    let names = packages::remembered(cache, ("kernel", package), || names(package, note))?;
    let names: Vec<&str> = names.lines().collect();
    let mut unpacked = Vec::new();
    for name in &names {
        unpacked.push(packages::unpack(name, cache, note)?);
    }
    let image_package = names.first().copied().unwrap_or_default();
    let release = release_of(image_package).unwrap_or_default();
    let image = format!("boot/vmlinuz-{release}");
    let image = find_file(&unpacked, &image).ok_or_else(|| PackagesError::Lacks {
        package: image_package.to_owned(),
        file: image,
    })?;
    // Newer packages have the modules under /usr.
    let directories: Vec<PathBuf> = unpacked
        .iter()
        .flat_map(|package| ["lib", "usr/lib"].map(|library| package.root.join(library)))
        .map(|library| library.join("modules").join(&release))
        .collect();
    let versions = unpacked
        .iter()
        .map(|package| (&package.package, &package.version));
    let fingerprint = Fingerprint::new().value(versions.collect::<Vec<_>>());
    Ok(Kernel {
        modules: Modules::read(&directories)?,
        release,
        image,
        // A package has none: it is made where the package is installed.
        initramfs: None,
        fingerprint,
    })
}

/// The packages of a kernel, one a line: the one with its image first.
fn names(package: Option<&str>, note: &dyn Fn(&str)) -> Result<String, PackagesError> {
    let package = match package {
        Some(package) => packages::first_known(&[package], note)?,
        None => packages::first_known(&CANDIDATES, note)?,
    };
    let (image, release) = match release_of(package) {
        Some(release) => (package.to_owned(), release),
        None => packages::dependencies(package)?
            .into_iter()
            .find_map(|name| release_of(&name).map(|release| (name.clone(), release)))
            .ok_or_else(|| PackagesError::NoImage(package.to_owned()))?,
    };
    // Ubuntu has the modules in packages that the image depends on.
    let modules = packages::dependencies(&image)?.into_iter();
    let modules = modules.filter(|name| *name == format!("linux-modules-{release}"));
    Ok([image]
        .into_iter()
        .chain(modules)
        .collect::<Vec<_>>()
        .join("\n"))
}

/// The release in the name of a kernel image package, such as `linux-image-6.1.0-56-cloud-amd64`.
fn release_of(package: &str) -> Option<String> {
    let release = package.strip_prefix("linux-image-")?;
    let release = release.strip_prefix("unsigned-").unwrap_or(release);
    release
        .starts_with(|first: char| first.is_ascii_digit())
        .then(|| release.to_owned())
}

fn find_file(packages: &[Unpacked], path: &str) -> Option<PathBuf> {
    packages
        .iter()
        .map(|package| package.root.join(path))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_image_package_has_a_release() {
        assert_eq!(
            release_of("linux-image-6.1.0-56-cloud-amd64").as_deref(),
            Some("6.1.0-56-cloud-amd64")
        );
        assert_eq!(
            release_of("linux-image-unsigned-6.8.0-1-kvm").as_deref(),
            Some("6.8.0-1-kvm")
        );
        assert_eq!(release_of("linux-image-cloud-amd64"), None);
        assert_eq!(release_of("linux-modules-6.8.0-1-kvm"), None);
    }
}
