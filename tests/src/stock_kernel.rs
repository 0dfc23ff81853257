//! The distribution's own kernel for virtual machines, from its package: its image and its modules.

use std::fs;
use std::path::{Path, PathBuf};

use crate::artifact::{ArtifactError, Fingerprint};
use crate::kernel::{self, KernelError};
use crate::packages::{self, PackagesError, Unpacked};

/// Packages that depend on a kernel for virtual machines: Debian's, then Ubuntu's, then any.
const CANDIDATES: [&str; 5] = [
    "linux-image-cloud-amd64",
    "linux-image-kvm",
    "linux-image-virtual",
    "linux-image-generic",
    "linux-image-amd64",
];

/// Why there is no stock kernel.
#[derive(Debug, thiserror::Error)]
pub enum StockKernelError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A file cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A compressed module cannot be unpacked.
    #[error("cannot unpack module '{path}'")]
    Module {
        /// The module's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: KernelError,
    },
}

/// An unpacked kernel package.
#[derive(Debug)]
pub struct StockKernel {
    /// The kernel's release, as in `uname -r`.
    release: String,
    image: PathBuf,
    packages: Vec<Unpacked>,
    modules: Vec<PathBuf>,
}

impl StockKernel {
    /// Fetches the kernel package of this machine's distribution into `cache`, unless it exists.
    pub fn fetch(cache: &Path, note: &dyn Fn(&str)) -> Result<Self, StockKernelError> {
        let meta_package = packages::first_known(&CANDIDATES)?;
        let (image_package, release) = packages::dependencies(meta_package)?
            .into_iter()
            .find_map(|name| release_of(&name).map(|release| (name.clone(), release)))
            .ok_or_else(|| PackagesError::NoImage(meta_package.to_owned()))?;
        let mut unpacked = vec![packages::unpack(&image_package, cache, note)?];
        // Ubuntu has the modules in a package that the image depends on.
        let modules_package = format!("linux-modules-{release}");
        if packages::dependencies(&image_package)?.contains(&modules_package) {
            unpacked.push(packages::unpack(&modules_package, cache, note)?);
        }
        let image = format!("boot/vmlinuz-{release}");
        let image = find_file(&unpacked, &image).ok_or(PackagesError::Lacks {
            package: image_package,
            file: image,
        })?;
        let mut modules = Vec::new();
        for package in &unpacked {
            // Newer packages have them under /usr.
            for library in ["lib", "usr/lib"] {
                let directory = package.root.join(library).join("modules").join(&release);
                collect_modules(&directory, &mut modules)?;
            }
        }
        Ok(Self {
            release,
            image,
            packages: unpacked,
            modules,
        })
    }

    /// The kernel's release, as in `uname -r`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Its bzImage.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A fingerprint of everything built from this kernel.
    pub fn fingerprint(&self) -> Fingerprint {
        let versions = self
            .packages
            .iter()
            .map(|package| (&package.package, &package.version));
        Fingerprint::new().value(versions.collect::<Vec<_>>())
    }

    /// The contents of a module, by its file's name without `.ko`; none if it is built in, or does not exist.
    pub fn module(&self, name: &str) -> Result<Option<Vec<u8>>, StockKernelError> {
        let Some(path) = self
            .modules
            .iter()
            .find(|path| module_name(path).is_some_and(|found| is_same_module(found, name)))
        else {
            return Ok(None);
        };
        let contents = fs::read(path).map_err(|error| ArtifactError::new("read", path, error))?;
        let decompressor = match path.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => packages::XZ,
            Some("zst") => packages::ZSTD,
            Some("gz") => return self.decompressed(path, "gzip", &contents).map(Some),
            _ => return Ok(Some(contents)),
        };
        packages::ensure_installed(&[decompressor], &|_| ())?;
        self.decompressed(path, decompressor.program, &contents)
            .map(Some)
    }

    fn decompressed(
        &self,
        path: &Path,
        tool: &str,
        contents: &[u8],
    ) -> Result<Vec<u8>, StockKernelError> {
        kernel::decompress_by(tool, contents).map_err(|source| StockKernelError::Module {
            path: path.to_path_buf(),
            source,
        })
    }
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

/// The kernel takes both spellings for a module; its files use either.
fn is_same_module(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// Returns `virtio_blk` for `…/virtio_blk.ko.xz`.
fn module_name(path: &Path) -> Option<&str> {
    path.file_name()?
        .to_str()?
        .split_once(".ko")
        .map(|(name, _)| name)
}

fn collect_modules(directory: &Path, into: &mut Vec<PathBuf>) -> Result<(), ArtifactError> {
    if !directory.is_dir() {
        return Ok(());
    }
    let unreadable = |error| ArtifactError::new("read", directory, error);
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect_modules(&path, into)?;
        } else if module_name(&path).is_some() {
            into.push(path);
        }
    }
    Ok(())
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

    #[test]
    fn a_module_has_its_name_however_it_is_compressed() {
        for file in ["kvm-amd.ko", "kvm-amd.ko.xz", "kvm-amd.ko.zst"] {
            assert_eq!(module_name(Path::new(file)), Some("kvm-amd"));
        }
        assert_eq!(module_name(Path::new("modules.dep")), None);
    }
}
