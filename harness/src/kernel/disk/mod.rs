//! The kernel in the `/boot` of a disk image, so that a distribution's image boots by its name alone.
//!
//! Read are ext2, ext3 and ext4, on the whole disk or in a partition (MBR without extended partitions, GPT); raw images,
//! and what qemu-img converts.

mod debugfs;
mod partitions;

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Kernel, KernelError};
use crate::cache::Cache;
use crate::cache::artifact::{ArtifactError, Fingerprint};
use crate::packages::QEMU_IMG;
use crate::tool;
use debugfs::{Debugfs, Entry};
use partitions::FileSystem;

pub use debugfs::ReadError;

const IMAGE: &str = "vmlinuz-";
const QCOW2: [u8; 4] = *b"QFI\xfb";

/// Copies the newest kernel of an image into `cache`, unless it is there, with its modules and its initramfs.
pub(super) fn kernel(
    image: &Path,
    cache: &Cache,
    note: &dyn Fn(&str),
) -> Result<Kernel, KernelError> {
    let unreadable = |error| ArtifactError::new("read", image, error);
    let real = fs::canonicalize(image).map_err(unreadable)?;
    let inputs = Fingerprint::new().value("boot 1").file(&real)?;
    let root = cache.ensure("boot", &inputs, "", |to| -> Result<(), KernelError> {
        note(&format!("reading the kernel of '{}'", image.display()));
        fs::create_dir_all(to).map_err(|error| ArtifactError::new("create", to, error))?;
        let scratch = to.join("scratch");
        fs::create_dir(&scratch).map_err(|error| ArtifactError::new("create", &scratch, error))?;
        let raw = scratch.join("image");
        if is_qcow2(&real)? {
            let mut convert = tool::command(QEMU_IMG.program)?;
            convert.args(["convert", "-f", "qcow2", "-O", "raw"]);
            tool::run(convert.arg(&real).arg(&raw))?;
        } else {
            symlink(&real, &raw).map_err(|error| ArtifactError::new("write", &raw, error))?;
        }
        extract(image, &scratch, to)?;
        fs::remove_dir_all(&scratch)
            .map_err(|error| ArtifactError::new("remove", &scratch, error))?;
        Ok(())
    })?;
    let boot = root.join("boot");
    let names = fs::read_dir(&boot).map_err(|error| ArtifactError::new("read", &boot, error))?;
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let release = names
        .filter_map(|name| Some(name.strip_prefix(IMAGE)?.to_owned()))
        .next();
    Kernel::installed(&root, &release.unwrap_or_default())
}

fn is_qcow2(image: &Path) -> Result<bool, ArtifactError> {
    let mut magic = [0; 4];
    let mut file = File::open(image).map_err(|error| ArtifactError::new("read", image, error))?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == QCOW2)
}

/// A file system with kernels, the directory that has them, and its entries.
struct Boot {
    files: Debugfs,
    directory: &'static str,
    entries: Vec<Entry>,
}

/// Copies what is in the image to `to`, as `/boot` and `/lib/modules` have it.
fn extract(image: &Path, scratch: &Path, to: &Path) -> Result<(), KernelError> {
    let unreadable = |error| ArtifactError::new("read", image, error);
    let raw = File::open(scratch.join("image")).map_err(unreadable)?;
    let partitions = partitions::read(&raw).map_err(unreadable)?;
    let ext = partitions
        .iter()
        .filter(|(_, kind)| *kind == Some(FileSystem::Ext))
        .map(|(offset, _)| *offset);
    let mut newest: Option<(String, Boot)> = None;
    let mut modules = Vec::new();
    for offset in ext {
        let files = Debugfs::at(scratch, offset);
        // A partition of its own has /boot as its root.
        let directories = ["/boot", "/"];
        let lists = files.list(&directories.map(str::to_owned))?;
        for (directory, entries) in directories.into_iter().zip(lists) {
            let releases = entries
                .iter()
                .filter_map(|entry| entry.name.strip_prefix(IMAGE));
            let release = releases.max_by(|one, other| by_version(one, other));
            let Some(release) = release.map(str::to_owned) else {
                continue;
            };
            let is_newer = newest
                .as_ref()
                .is_none_or(|(found, _)| by_version(&release, found) == Ordering::Greater);
            if is_newer {
                let files = Debugfs::at(scratch, offset);
                let boot = Boot {
                    files,
                    directory,
                    entries,
                };
                newest = Some((release, boot));
            }
        }
        modules.push(files);
    }
    let Some((release, boot)) = newest else {
        let others = partitions.iter().filter_map(|(_, kind)| match kind {
            Some(FileSystem::Other(name)) => Some(*name),
            _ => None,
        });
        return Err(KernelError::NotOnDisk {
            image: image.to_path_buf(),
            others: others.collect(),
        });
    };
    let directory = to.join("boot");
    fs::create_dir(&directory).map_err(|error| ArtifactError::new("create", &directory, error))?;
    let wanted = [
        format!("{IMAGE}{release}"),
        format!("config-{release}"),
        format!("initrd.img-{release}"),
        format!("initramfs-{release}.img"),
    ];
    for entry in boot
        .entries
        .iter()
        .filter(|entry| wanted.contains(&entry.name))
    {
        let from = format!("{}/{}", boot.directory.trim_end_matches('/'), entry.name);
        boot.files
            .copy_file(&from, entry, &directory.join(&entry.name))?;
    }
    for files in modules {
        let path = format!("/lib/modules/{release}");
        files.copy(&path, &to.join(path.trim_start_matches('/')))?;
    }
    Ok(())
}

/// Orders releases as `sort -V` does: numbers by their value.
fn by_version(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let end = after
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len());
            let (number, after) = after.split_at(end);
            // A number too large to be one follows all others.
            parts.push((0, word.to_owned()));
            parts.push((number.parse().unwrap_or(u64::MAX), String::new()));
            rest = after;
        }
        parts
    };
    parts(one).cmp(&parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DiskFormat, DiskImage};
    use crate::kernel::tests::{RELEASE, tree};
    use std::os::unix::fs::FileExt;

    fn quiet(_: &str) {}

    /// A tree with a kernel, an older one and an initramfs.
    fn system() -> tempfile::TempDir {
        let root = tree(
            &[("vsock.ko.gz", b"\0"), ("xfs.ko", b"\0")],
            "kernel/a/virtio_blk.ko\n",
        );
        let boot = root.path().join("boot");
        fs::write(
            boot.join("vmlinuz-5.10.0"),
            "\x7fELF Linux version 5.10.0 (a)",
        )
        .unwrap();
        fs::write(boot.join(format!("initrd.img-{RELEASE}")), "initramfs").unwrap();
        root
    }

    fn check(image: &Path, cache: &Cache) {
        let kernel = Kernel::of_disk(image, cache, &quiet).unwrap();
        assert_eq!(kernel.release(), RELEASE);
        let initramfs = kernel.initramfs().unwrap();
        assert_eq!(fs::read_to_string(initramfs).unwrap(), "initramfs");
        let modules = kernel
            .load_order(&["vsock", "virtio_blk"], &["xfs"])
            .unwrap();
        assert_eq!(modules.len(), 2);
    }

    #[test]
    fn the_newest_kernel_of_a_disk_comes_with_its_modules_and_its_initramfs() {
        let (system, out) = (system(), tempfile::tempdir().unwrap());
        let cache = Cache::at(out.path().join("cache"));
        for format in [DiskFormat::Raw, DiskFormat::Qcow2] {
            // A name that debugfs could not take.
            let image = out.path().join(format!("a disk?offset=1.{format}"));
            let disk = DiskImage::directory(system.path()).format(format);
            disk.write(&image, &quiet).unwrap();
            check(&image, &cache);
        }
    }

    #[test]
    fn the_kernel_of_a_partition_is_found() {
        let (system, out) = (system(), tempfile::tempdir().unwrap());
        let cache = Cache::at(out.path().join("cache"));
        let part = out.path().join("part");
        DiskImage::directory(system.path())
            .write(&part, &quiet)
            .unwrap();
        let image = out.path().join("disk.img");
        let disk = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&image)
            .unwrap();
        partitions::tests::write_gpt(&disk, &[2048]);
        disk.write_all_at(&fs::read(&part).unwrap(), 2048 * 512)
            .unwrap();
        check(&image, &cache);
    }

    #[test]
    fn a_disk_without_a_kernel_that_can_be_read_says_why() {
        let out = tempfile::tempdir().unwrap();
        let cache = Cache::at(out.path().join("cache"));
        let image = out.path().join("disk.img");
        DiskImage::empty().write(&image, &quiet).unwrap();
        let error = Kernel::of_disk(&image, &cache, &quiet)
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("/disk.img' has no kernel in /boot"),
            "{error}"
        );
        let file = File::options().write(true).open(&image).unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.write_all_at(b"XFSB", 0).unwrap();
        let error = Kernel::of_disk(&image, &cache, &quiet)
            .unwrap_err()
            .to_string();
        let expected = "/disk.img' has XFS, of which no file is read without mounting it: name the kernel's file";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        assert_eq!(by_version("6.12.1-x", "6.1.0-57"), Ordering::Greater);
        assert_eq!(by_version("6.1.0-9", "6.1.0-57"), Ordering::Less);
        assert_eq!(by_version("6.1.0", "6.1.0"), Ordering::Equal);
    }
}
