//! Disks are made and asked by debugfs.

use super::*;
use std::os::unix::fs::symlink;

fn quiet(_: &str) {}

/// What debugfs answers about an image.
fn asked(image: &Path, request: &str) -> String {
    let mut debugfs = tool::command("debugfs").unwrap();
    let said = tool::output(debugfs.arg("-R").arg(request).arg(image)).unwrap();
    String::from_utf8(said).unwrap()
}

fn e2fsck(image: &Path) {
    let mut check = tool::command("e2fsck").unwrap();
    tool::run(check.args(["-fn"]).arg(image)).unwrap();
}

fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("etc")).unwrap();
    fs::write(tree.path().join("etc/name"), "one").unwrap();
    fs::write(tree.path().join("etc/old"), "old").unwrap();
    symlink("name", tree.path().join("etc/link")).unwrap();
    tree
}

#[test]
fn a_disk_has_the_files_of_a_directory() {
    let (tree, cache) = (tree(), tempfile::tempdir().unwrap());
    let cache = Cache::at(cache.path());
    let disk = DiskImage::directory(tree.path()).label("data");
    let image = disk.cached(&cache, &quiet).unwrap();
    e2fsck(&image);
    assert_eq!(asked(&image, "cat /etc/name"), "one");
    assert!(asked(&image, "stat /etc/link").contains("Fast link dest: \"name\""));
    assert!(asked(&image, "stats").contains("Filesystem volume name:   data"));

    // It is made again when a file has changed.
    assert_eq!(
        disk.cached(&cache, &|_| panic!("made again")).unwrap(),
        image
    );
    fs::write(tree.path().join("etc/name"), "other").unwrap();
    let other = disk.cached(&cache, &quiet).unwrap();
    assert_eq!(asked(&other, "cat /etc/name"), "other");
    assert_eq!(asked(&image, "cat /etc/name"), "one");
}

#[test]
fn changes_are_made_to_the_image_and_not_to_the_directory() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    let image = out.path().join("disk.img");
    let disk = DiskImage::directory(tree.path())
        .file("/etc/new/file", 0o600, "new")
        .without("/etc/old");
    disk.write(&image, &quiet).unwrap();
    e2fsck(&image);
    assert_eq!(asked(&image, "cat /etc/new/file"), "new");
    assert!(asked(&image, "stat /etc/new/file").contains("Mode:  0600"));
    assert!(!asked(&image, "ls -p /etc").contains("/old/"));
    assert!(tree.path().join("etc/old").exists());
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn files_of_an_archive_keep_the_owners_that_it_names() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    for directory in ["dev", "home/dev"] {
        fs::create_dir_all(tree.path().join(directory)).unwrap();
        fs::write(tree.path().join(directory).join("file"), directory).unwrap();
    }
    let archive = out.path().join("root.tar");
    let mut tar = tool::command("tar").unwrap();
    tar.args(["--owner=:1234", "--group=:5678", "-cf"])
        .arg(&archive);
    tool::run(tar.arg("-C").arg(tree.path()).arg(".")).unwrap();
    let image = out.path().join("disk.img");
    DiskImage::archive(&archive).write(&image, &quiet).unwrap();
    e2fsck(&image);
    let stat = asked(&image, "stat /etc/name");
    assert!(stat.contains("User:  1234   Group:  5678"), "{stat}");
    assert_eq!(asked(&image, "cat /etc/name"), "one");
    // A kernel provides what is in /dev, and only there.
    assert!(!asked(&image, "ls -p /dev").contains("file"));
    assert_eq!(asked(&image, "cat /home/dev/file"), "home/dev");
}

#[test]
fn what_is_beside_a_new_image_stays() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    let neighbour = out.path().join("disk.raw");
    fs::write(&neighbour, "mine").unwrap();
    let image = out.path().join("disk.qcow2");
    let disk = DiskImage::directory(tree.path()).format(DiskFormat::Qcow2);
    disk.write(&image, &quiet).unwrap();
    assert_eq!(fs::read_to_string(&neighbour).unwrap(), "mine");
    let names = fs::read_dir(out.path()).unwrap();
    assert_eq!(names.count(), 2);
}

#[test]
fn many_small_files_have_room() {
    let (tree, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // More than mke2fs makes inodes for a disk of this size by itself.
    for directory in 0..11 {
        let directory = tree.path().join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        for file in 0..100 {
            fs::write(directory.join(file.to_string()), "").unwrap();
        }
    }
    let image = out.path().join("disk.img");
    let disk = DiskImage::directory(tree.path()).size(4 << 20);
    disk.write(&image, &quiet).unwrap();
    e2fsck(&image);
    assert!(asked(&image, "ls -p /10").contains("/99/0/"));
}

#[test]
fn a_file_system_that_is_too_small_is_an_error() {
    let (tree, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(tree.path().join("large"), vec![1; 4 << 20]).unwrap();
    let image = out.path().join("disk.img");
    let disk = DiskImage::directory(tree.path()).size(2 << 20);
    let error = disk.write(&image, &quiet).unwrap_err().to_string();
    assert!(error.starts_with("'mke2fs -q "), "{error}");
    let cached = disk.cached(&Cache::at(out.path()), &quiet);
    assert!(cached.is_err());
    assert_eq!(
        fs::read_dir(out.path().join("disks")).unwrap().count(),
        0,
        "nothing half stays"
    );
}
