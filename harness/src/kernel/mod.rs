//! Kernels for guests: from a file, from this machine, or from a package of its distribution; with the modules that a
//! guest loads.

mod compression;
mod disk;
mod error;
mod evidence;
mod modules;
mod package;
pub mod vmlinux;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cache::artifact::{self, ArtifactError, Fingerprint};
use evidence::Evidence;

pub use disk::ReadError;
pub use error::KernelError;
pub use modules::{Module, Modules};
pub use vmlinux::VmlinuxError;

/// The modules of the devices that a machine can have, and of what the agent is reached by.
pub const DEVICES: [&str; 5] = [
    "virtio_mmio",
    "virtio_blk",
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
];

/// Where a machine has its kernels' modules.
const MODULES: &str = "/lib/modules";

/// A kernel: its image, and its modules if it has any.
#[derive(Debug, Clone)]
pub struct Kernel {
    release: String,
    image: PathBuf,
    initramfs: Option<PathBuf>,
    modules: Modules,
    fingerprint: Fingerprint,
}

impl Kernel {
    /// A bzImage or a vmlinux. Its modules are those of its release beside it (`../lib/modules/RELEASE`) or on this
    /// machine, if there are any.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no kernel.
    pub fn file(path: &Path) -> Result<Self, KernelError> {
        let image =
            fs::canonicalize(path).map_err(|error| ArtifactError::new("read", path, error))?;
        let bytes = read(&image)?;
        let release = vmlinux::release_of_bzimage(&bytes);
        let release = release.or_else(|| {
            let is_elf = bytes.starts_with(b"\x7fELF");
            is_elf.then(|| vmlinux::release_of_vmlinux(&bytes))?
        });
        let release = release.ok_or_else(|| KernelError::NoKernel(path.to_path_buf()))?;
        let beside = image.parent().and_then(Path::parent);
        let beside = beside.map(|root| root.join(MODULES.trim_start_matches('/')));
        let directories = beside.into_iter().chain([PathBuf::from(MODULES)]);
        let directories = directories.map(|directory| directory.join(&release));
        let directory = directories.into_iter().find(|directory| directory.is_dir());
        let initramfs = [
            format!("initrd.img-{release}"),
            format!("initramfs-{release}.img"),
        ];
        let initramfs = initramfs.map(|name| image.with_file_name(name));
        Ok(Self {
            modules: Modules::read(&directory.into_iter().collect::<Vec<_>>())?,
            fingerprint: Fingerprint::new().file(&image)?,
            initramfs: initramfs.into_iter().find(|path| path.is_file()),
            release,
            image,
        })
    }

    /// The kernel that this machine runs (`/boot/vmlinuz-RELEASE`), with its modules.
    ///
    /// # Errors
    ///
    /// Its image is not there, as in a container, or may not be read.
    pub fn of_host() -> Result<Self, KernelError> {
        let path = Path::new("/proc/sys/kernel/osrelease");
        let release = fs::read_to_string(path);
        let release = release.map_err(|error| ArtifactError::new("read", path, error))?;
        Self::installed(Path::new("/"), release.trim())
    }

    /// The kernel of a release that is installed in a tree of files.
    fn installed(root: &Path, release: &str) -> Result<Self, KernelError> {
        let names = [
            root.join("boot").join(format!("vmlinuz-{release}")),
            // Fedora's place.
            root.join("lib/modules").join(release).join("vmlinuz"),
        ];
        match names.iter().find(|path| path.is_file()) {
            Some(path) => Self::file(path),
            None => Err(KernelError::NotInstalled {
                release: release.to_owned(),
                path: names[0].clone(),
            }),
        }
    }

    /// The kernel of a Debian or Ubuntu package, fetched into `cache` unless it exists; without a name, the
    /// distribution's kernel for virtual machines.
    ///
    /// # Errors
    ///
    /// The package cannot be obtained, or has no kernel.
    pub fn package(
        name: Option<&str>,
        cache: &Cache,
        note: &dyn Fn(&str),
    ) -> Result<Self, KernelError> {
        package::fetch(name, cache, note)
    }

    /// The newest kernel in the `/boot` of a disk image, raw or qcow2, with its modules and its initramfs, copied into
    /// `cache` unless it is there. The file system is one of the ext family.
    ///
    /// # Errors
    ///
    /// The image has no kernel, or another file system; `debugfs` is missing.
    pub fn of_disk(image: &Path, cache: &Cache, note: &dyn Fn(&str)) -> Result<Self, KernelError> {
        disk::kernel(image, cache, note)
    }

    /// Takes the modules from another directory, such as `/lib/modules/6.1.0-57-cloud-amd64`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has no modules.
    pub fn with_modules(mut self, directory: &Path) -> Result<Self, KernelError> {
        self.modules = Modules::read(&[directory.to_path_buf()])?;
        if self.modules.is_empty() {
            return Err(KernelError::NoModules(directory.to_path_buf()));
        }
        Ok(self)
    }

    /// The kernel's release, as in `uname -r`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Its image, as it is packaged.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// The initramfs that its distribution has made for it, if it is there.
    pub fn initramfs(&self) -> Option<&Path> {
        self.initramfs.as_deref()
    }

    /// Its modules.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// A fingerprint of everything built from this kernel.
    pub fn fingerprint(&self) -> Fingerprint {
        self.modules.add_to(self.fingerprint.clone())
    }

    /// The modules that a guest loads for `required`, and those for what it has of `optional`, in load order. Built-in
    /// ones are left out.
    ///
    /// # Errors
    ///
    /// The kernel has one of `required` neither as a module nor built in.
    pub fn load_order(
        &self,
        required: &[&str],
        optional: &[&str],
    ) -> Result<Vec<Module>, KernelError> {
        let missing: Vec<&str> = required
            .iter()
            .copied()
            .filter(|name| !self.modules.has(name))
            .collect();
        if !missing.is_empty() {
            let evidence = Evidence::of(self)?;
            for module in missing {
                if evidence.denies(module) {
                    return Err(KernelError::NoModule {
                        release: self.release.clone(),
                        module: module.to_owned(),
                        option: evidence::option(module),
                    });
                }
            }
        }
        let names: Vec<&str> = required.iter().chain(optional).copied().collect();
        self.modules.in_load_order(&names)
    }

    /// Writes the kernel as an ELF image to a new file. A VMM starts it without the kernel's own decompression.
    ///
    /// # Errors
    ///
    /// The image cannot be unpacked, or the file not be written.
    pub fn write_vmlinux(&self, to: &Path) -> Result<(), KernelError> {
        let vmlinux = self.unpacked(read(&self.image)?)?;
        Ok(fs::write(to, vmlinux).map_err(|error| ArtifactError::new("write", to, error))?)
    }

    /// The file of the kernel as an ELF image: its own, or one in `cache`.
    ///
    /// # Errors
    ///
    /// The image cannot be unpacked, or the file not be written.
    pub fn vmlinux(&self, cache: &Cache, note: &dyn Fn(&str)) -> Result<PathBuf, KernelError> {
        if starts_as_elf(&self.image)? {
            return Ok(self.image.clone());
        }
        cache.ensure("vmlinux", &self.fingerprint, "", |to| {
            note(&format!("unpacking Linux {}", self.release));
            self.write_vmlinux(to)
        })
    }

    /// The same in a file of its own, unless it exists.
    ///
    /// # Errors
    ///
    /// Those of [`vmlinux`](Self::vmlinux).
    pub fn ensure_vmlinux(&self, path: &Path, note: &dyn Fn(&str)) -> Result<(), KernelError> {
        artifact::ensure(path, &self.fingerprint, |to| {
            note(&format!("unpacking Linux {}", self.release));
            self.write_vmlinux(to)
        })
        .map(drop)
    }

    /// The ELF image in the bytes of its file.
    fn unpacked(&self, bytes: Vec<u8>) -> Result<Vec<u8>, KernelError> {
        if bytes.starts_with(b"\x7fELF") {
            return Ok(bytes);
        }
        vmlinux::extract_vmlinux(&bytes).map_err(|source| KernelError::Vmlinux {
            path: self.image.clone(),
            source,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KernelError> {
    Ok(fs::read(path).map_err(|error| ArtifactError::new("read", path, error))?)
}

fn starts_as_elf(path: &Path) -> Result<bool, KernelError> {
    use std::io::Read;
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.map_err(|error| ArtifactError::new("read", path, error))?;
    Ok(&magic == b"\x7fELF")
}

#[cfg(test)]
pub(crate) mod tests;
