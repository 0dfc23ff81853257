//! Archives are read back, with programs of this machine in them.

use super::*;
use crate::image::archive::tests::members;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

/// A busybox with three commands.
pub(crate) fn fake_busybox(directory: &Path) -> Busybox {
    let path = directory.join("busybox");
    if !path.exists() {
        // Written by another process: a program that this one has open for writing cannot be executed, and any
        // thread may be forking.
        let mut sh = tool::command("sh").unwrap();
        let script = "printf '#!/bin/sh\\nprintf \"busybox\\\\nmke2fs\\\\nonly-in-busybox\\\\n\"\\n' > \"$0\"; chmod +x \"$0\"";
        tool::run(sh.args(["-c", script]).arg(&path)).unwrap();
    }
    Busybox::at(&path).unwrap()
}

fn written(initramfs: &Initramfs) -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    initramfs.write(&mut archive).unwrap();
    archive.finish().unwrap()
}

fn contents(initramfs: &Initramfs) -> BTreeMap<String, (u32, Vec<u8>)> {
    let members = members(&written(initramfs)).into_iter();
    members
        .map(|(name, mode, data)| (name, (mode, data)))
        .collect()
}

#[test]
fn a_program_keeps_its_path_and_the_links_that_lead_to_it() {
    let mut initramfs = Initramfs::new();
    initramfs.program("mkfs.ext4").unwrap();
    let found = contents(&initramfs);
    let link = &found["usr/sbin/mkfs.ext4"];
    assert_eq!(
        (link.0, link.1.as_slice()),
        (0o120_777, b"mke2fs".as_slice())
    );
    let program = fs::read(tool::find("mke2fs").unwrap()).unwrap();
    assert!(found["usr/sbin/mke2fs"] == (0o100_755, program));
    assert_eq!(found["lib64"].1, b"usr/lib64");
    let has = |end: &str| found.keys().any(|name| name.ends_with(end));
    assert!(has("/libext2fs.so.2") && has("/libc.so.6") && has("/ld-linux-x86-64.so.2"));
}

#[test]
fn a_path_through_links_is_copied_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("real/deep")).unwrap();
    fs::copy(tool::find("true").unwrap(), root.join("real/program")).unwrap();
    symlink("real", root.join("relative")).unwrap();
    symlink(root.join("relative/deep"), root.join("absolute")).unwrap();
    symlink("../program", root.join("real/deep/other")).unwrap();
    let mut initramfs = Initramfs::new();
    initramfs
        .host_program(&root.join("absolute/other"))
        .unwrap();
    let found = contents(&initramfs);
    let at = |name: &str| {
        let path = root.join(name).display().to_string();
        found[path.trim_start_matches('/')].0 & 0o170_000
    };
    assert_eq!(at("absolute"), 0o120_000);
    assert_eq!(at("relative"), 0o120_000);
    assert_eq!(at("real/deep/other"), 0o120_000);
    assert_eq!(at("real/program"), 0o100_000);
}

#[test]
fn commands_of_busybox_give_way_to_programs() {
    let directory = tempfile::tempdir().unwrap();
    let mut initramfs = Initramfs::new();
    initramfs.busybox(&fake_busybox(directory.path())).unwrap();
    initramfs.program("mke2fs").unwrap();
    let found = contents(&initramfs);
    assert_eq!(found["usr/bin/only-in-busybox"].1, b"/usr/bin/busybox");
    assert!(!found.contains_key("usr/bin/mke2fs"));
    assert_eq!(found["usr/sbin/mke2fs"].0, 0o100_755);
}

#[test]
fn a_directory_is_copied_with_all_that_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("a/empty")).unwrap();
    fs::write(path("a/file"), "text").unwrap();
    fs::set_permissions(path("a/file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", path("a/link")).unwrap();
    let mut initramfs = Initramfs::appended();
    initramfs.copy("/data", directory.path()).unwrap();
    let found = contents(&initramfs);
    assert_eq!(found["data/a/file"], (0o100_640, b"text".to_vec()));
    assert_eq!(found["data/a/link"], (0o120_777, b"file".to_vec()));
    assert_eq!(found["data/a/empty"].0 & 0o170_000, 0o040_000);
    let error = initramfs.copy("/null", Path::new("/dev/null")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'/dev/null' is neither a file, a directory nor a link"
    );
}

#[test]
fn equal_inputs_make_equal_archives_whatever_their_order() {
    let mut one = Initramfs::new();
    one.file("/b", 0o644, "b")
        .unwrap()
        .file("/a/c", 0o600, "c")
        .unwrap();
    let mut other = Initramfs::new();
    other
        .file("/a/c", 0o600, "c")
        .unwrap()
        .file("//b", 0o644, "b")
        .unwrap();
    assert_eq!(written(&one), written(&other));
    assert_eq!(one.digest().unwrap(), other.digest().unwrap());
    assert_eq!(one.digest().unwrap().len(), 64);
    assert_eq!(
        one.fingerprint().unwrap().text(),
        other.fingerprint().unwrap().text()
    );
    other.file("/b", 0o644, "B").unwrap();
    assert_ne!(one.digest().unwrap(), other.digest().unwrap());
    assert_ne!(
        one.fingerprint().unwrap().text(),
        other.fingerprint().unwrap().text()
    );
}

#[test]
fn a_file_goes_through_the_links_that_were_added_before() {
    let mut initramfs = Initramfs::new();
    initramfs.symlink("/etc/here", "../var/there").unwrap();
    initramfs.file("/etc/here/file", 0o644, "x").unwrap();
    assert!(initramfs.contains("/var/there/file"));
    initramfs.symlink("/loop", "loop").unwrap();
    let error = initramfs.file("/loop/x", 0o644, "").unwrap_err();
    assert_eq!(
        error.to_string(),
        "'loop/x' leads through too many symbolic links"
    );
    assert!(initramfs.file("/a/../b", 0o644, "").is_err());
}
