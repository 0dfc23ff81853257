//! Kernels with modules made for a test, and this distribution's.

use std::fs;
use std::path::Path;

use super::compression::tests::{gzip, zstd};
use super::*;

pub(crate) const RELEASE: &str = "6.1.0-test";

/// An ELF file with nothing but a `.modinfo` section.
fn module(modinfo: &[u8]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..20].copy_from_slice(&[1, 0, 62, 0]); // relocatable, x86-64
    file[20] = 1;
    let names_at = (64 + modinfo.len()) as u64;
    let sections_at = names_at + NAMES.len() as u64;
    file[40..48].copy_from_slice(&sections_at.to_le_bytes());
    file[52..54].copy_from_slice(&64_u16.to_le_bytes());
    file[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]); // three sections, the last with the names
    file.extend(modinfo);
    file.extend(NAMES);
    let section = |name: u32, kind: u32, at: u64, length: usize| {
        let mut header = vec![0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[32..40].copy_from_slice(&(length as u64).to_le_bytes());
        header
    };
    file.extend(section(0, 0, 0, 0));
    file.extend(section(1, 1, 64, modinfo.len()));
    file.extend(section(10, 3, names_at, NAMES.len()));
    file
}

/// A tree of files with a kernel of [`RELEASE`] and these modules.
pub(crate) fn tree(modules: &[(&str, &[u8])], built_in: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("lib/modules").join(RELEASE);
    fs::create_dir_all(directory.join("kernel/net")).unwrap();
    for (name, modinfo) in modules {
        let contents = module(modinfo);
        let contents = match name.rsplit_once('.') {
            Some((_, "gz")) => gzip(&contents),
            Some((_, "zst")) => zstd(&contents),
            _ => contents,
        };
        fs::write(directory.join("kernel/net").join(name), contents).unwrap();
    }
    if !modules.is_empty() || !built_in.is_empty() {
        fs::write(directory.join("modules.builtin"), built_in).unwrap();
    }
    fs::create_dir_all(root.path().join("boot")).unwrap();
    let banner = format!("\x7fELF Linux version {RELEASE} (a@b)");
    fs::write(
        root.path().join("boot").join(format!("vmlinuz-{RELEASE}")),
        banner,
    )
    .unwrap();
    root
}

/// The kernel of such a tree.
pub(crate) fn kernel(root: &Path) -> Kernel {
    Kernel::installed(root, RELEASE).unwrap()
}

fn names(modules: &[Module]) -> Vec<&str> {
    modules.iter().map(|module| module.name.as_str()).collect()
}

#[test]
fn a_module_follows_its_dependencies_once() {
    let root = tree(
        &[
            ("blk.ko", b"license=GPL\0depends=virtio,ring-buffer\0"),
            ("mmio.ko.gz", b"depends=ring-buffer,virtio\0"),
            ("virtio.ko.zst", b"depends=ring_buffer\0"),
            ("ring-buffer.ko", b"depends=\0"),
        ],
        "kernel/fs/ext4/ext4.ko\n",
    );
    let kernel = kernel(root.path());
    let modules = kernel
        .load_order(&["blk", "ext4", "mmio"], &["absent"])
        .unwrap();
    assert_eq!(names(&modules), ["ring-buffer", "virtio", "blk", "mmio"]);
    // All are unpacked.
    assert!(
        modules
            .iter()
            .all(|module| module.contents.starts_with(b"\x7fELF"))
    );
}

#[test]
fn what_a_module_asks_for_at_run_time_comes_before_it() {
    let root = tree(
        &[
            (
                "btrfs.ko",
                b"softdep=pre: crc32c absent post: later\0depends=\0",
            ),
            ("crc32c_generic.ko", b"alias=crypto-crc32c\0"),
            ("later.ko", b"\0"),
        ],
        "",
    );
    let directory = root.path().join("lib/modules").join(RELEASE);
    fs::write(
        directory.join("modules.alias"),
        "alias crc32c crc32c_generic\n",
    )
    .unwrap();
    let modules = kernel(root.path()).load_order(&["btrfs"], &[]).unwrap();
    assert_eq!(names(&modules), ["crc32c_generic", "btrfs"]);
}

#[test]
fn a_kernel_without_vsock_names_the_module_and_the_option() {
    let root = tree(&[("virtio_mmio.ko", b"\0"), ("virtio_blk.ko", b"\0")], "");
    let error = kernel(root.path()).load_order(&DEVICES, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Linux 6.1.0-test has no 'vsock': a guest needs it as a module or built in (CONFIG_VSOCKETS=m or y)"
    );
}

#[test]
fn a_missing_dependency_names_both_modules() {
    let root = tree(&[("blk.ko", b"depends=virtio_ring\0")], "");
    let error = kernel(root.path()).load_order(&["blk"], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "module 'blk' depends on 'virtio_ring', which is missing: are its modules complete?"
    );
}

#[test]
fn a_kernel_without_modules_is_judged_by_its_configuration() {
    let root = tree(&[], "");
    let configuration = root.path().join(format!("boot/config-{RELEASE}"));
    let all = "CONFIG_VIRTIO_MMIO=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_VSOCKETS=y\n\
               CONFIG_VIRTIO_VSOCKETS_COMMON=y\nCONFIG_VIRTIO_VSOCKETS=y\n";
    fs::write(&configuration, all).unwrap();
    assert!(
        kernel(root.path())
            .load_order(&DEVICES, &[])
            .unwrap()
            .is_empty()
    );
    fs::write(
        &configuration,
        all.replace("VIRTIO_VSOCKETS=y", "VIRTIO_VSOCKETS=m"),
    )
    .unwrap();
    let error = kernel(root.path()).load_order(&DEVICES, &[]).unwrap_err();
    assert!(
        error.to_string().contains("'vmw_vsock_virtio_transport'"),
        "{error}"
    );
}

#[test]
fn a_kernel_alone_is_judged_by_what_its_image_contains() {
    let root = tree(&[], "");
    let image = root.path().join(format!("boot/vmlinuz-{RELEASE}"));
    let mut bytes = fs::read(&image).unwrap();
    let error = kernel(root.path()).load_order(&["vsock"], &[]).unwrap_err();
    assert!(error.to_string().contains("'vsock'"), "{error}");
    bytes.extend(b"\0AF_VSOCK\0");
    fs::write(&image, &bytes).unwrap();
    assert!(kernel(root.path()).load_order(&["vsock"], &[]).is_ok());
    // A configuration inside counts before.
    bytes.extend(
        [
            b"IKCFG_ST".to_vec(),
            gzip(b"# CONFIG_VSOCKETS is not set\n"),
        ]
        .concat(),
    );
    fs::write(&image, &bytes).unwrap();
    assert!(kernel(root.path()).load_order(&["vsock"], &[]).is_err());
}

#[test]
fn modules_may_come_from_another_directory() {
    let root = tree(&[("vsock.ko", b"\0")], "");
    let kernel = Kernel::file(&root.path().join(format!("boot/vmlinuz-{RELEASE}"))).unwrap();
    let directory = root.path().join("lib/modules").join(RELEASE);
    assert!(
        kernel
            .clone()
            .with_modules(&directory)
            .unwrap()
            .modules()
            .has("vsock")
    );
    let error = kernel
        .with_modules(&root.path().join("boot"))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("/boot' has no kernel modules"), "{error}");
}

#[test]
fn what_is_no_kernel_is_named() {
    let root = tree(&[], "");
    let error = Kernel::installed(root.path(), "6.2")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("this machine runs Linux 6.2, but has no '"),
        "{error}"
    );
    let file = root.path().join("text");
    fs::write(&file, "text").unwrap();
    let error = Kernel::file(&file).unwrap_err().to_string();
    assert!(
        error.ends_with("/text' is no Linux kernel: neither a bzImage nor a vmlinux"),
        "{error}"
    );
}

#[test]
fn a_module_that_is_replaced_makes_another_fingerprint() {
    let root = tree(&[("xfs.ko", b"\0")], "");
    let before = kernel(root.path()).fingerprint().text();
    assert_eq!(kernel(root.path()).fingerprint().text(), before);
    let directory = root.path().join("lib/modules").join(RELEASE);
    fs::write(directory.join("kernel/net/xfs.ko"), module(b"\0\0")).unwrap();
    assert_ne!(kernel(root.path()).fingerprint().text(), before);
}

#[test]
fn modules_that_depend_on_each_other_without_end_are_refused() {
    let names: Vec<_> = (0..40).map(|number| format!("m{number}.ko")).collect();
    let needs: Vec<_> = (1..41)
        .map(|number| format!("depends=m{number}\0"))
        .collect();
    let modules: Vec<(&str, &[u8])> = names
        .iter()
        .zip(&needs)
        .map(|(name, needs)| (name.as_str(), needs.as_bytes()))
        .chain([("m40.ko", b"\0".as_slice())])
        .collect();
    let root = tree(&modules, "");
    let error = kernel(root.path()).load_order(&["m0"], &[]).unwrap_err();
    assert!(matches!(error, KernelError::TooDeep(_)), "{error}");
    assert!(kernel(root.path()).load_order(&["m20"], &[]).is_ok());
}
