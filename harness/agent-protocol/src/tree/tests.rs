use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::frame::{Frame, Kind};
use crate::request::{Content, Copied, Entry};

type Frames = Vec<(Kind, Vec<u8>)>;

fn sent(path: &Path) -> (Frames, Copied) {
    let mut frames = Vec::new();
    let copied = send(path, |kind, payload| {
        frames.push((kind, payload.to_vec()));
        Ok::<_, ()>(())
    });
    (frames, copied.unwrap())
}

fn receiver(path: PathBuf) -> Receiver {
    let name = OsString::from("source");
    let mode_mask = 0o777;
    Receiver::new(&Destination {
        path,
        name,
        mode_mask,
    })
    .unwrap()
}

fn received(receiver: &mut Receiver, frames: &Frames) -> Result<Option<Copied>, Failure> {
    let mut last = None;
    for (kind, payload) in frames {
        last = receiver.take(Frame {
            kind: *kind,
            payload,
        })?;
    }
    Ok(last)
}

fn entry(path: &str, content: Content) -> (Kind, Vec<u8>) {
    let entry = Entry {
        path: path.into(),
        content,
        mode: 0o4755,
    };
    (Kind::Entry, serde_json::to_vec(&entry).unwrap())
}

/// Every path below a directory, with what it is.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let mode = metadata.permissions().mode() & 0o7777;
        let what = if metadata.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            format!("{mode:o}")
        } else if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else {
            format!("{mode:o} {:?}", fs::read(&path).unwrap().len())
        };
        lines.push(format!("{name} {what}"));
    }
    lines.sort();
    lines
}

fn tree() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    fs::create_dir_all(root.join("one/two")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("one/two/file"), vec![7; 100_000]).unwrap();
    fs::write(root.join("one/nothing"), "").unwrap();
    fs::write(root.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("one/two/file", root.join("link")).unwrap();
    symlink("/no/such", root.join("dangling")).unwrap();
    fs::set_permissions(root.join("one"), fs::Permissions::from_mode(0o555)).unwrap();
    directory
}

#[test]
fn a_tree_arrives_as_it_was() {
    let source = tree();
    let to = tempfile::tempdir().unwrap();
    let (frames, copied) = sent(&source.path().join("source"));
    assert_eq!(copied.files, 3);
    // Twice: what is there is replaced. A directory gets the source's name in it, another path is the new name.
    for _ in 0..2 {
        for path in [to.path().to_owned(), to.path().join("renamed")] {
            if path.ends_with("renamed") && path.exists() {
                continue;
            }
            let mut receiver = receiver(path);
            assert_eq!(received(&mut receiver, &frames).unwrap(), Some(copied));
        }
    }
    let expected = listing(&source.path().join("source"));
    assert_eq!(listing(&to.path().join("source")), expected);
    assert_eq!(listing(&to.path().join("renamed")), expected);
    fs::set_permissions(
        source.path().join("source/one"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
}

#[test]
fn nothing_is_written_outside_of_the_destination() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let link = || entry("a", Content::Link(target.into()));
    let root = || entry("", Content::Directory);
    for frames in [
        vec![root(), entry("../evil", Content::File(0))],
        vec![root(), entry("/evil", Content::File(0))],
        vec![root(), entry("a/../../evil", Content::File(0))],
        vec![root(), entry("", Content::File(0))],
        // By a symbolic link, one's own or that of before.
        vec![root(), link(), entry("a/evil", Content::File(0))],
        vec![
            root(),
            link(),
            entry("a", Content::Directory),
            entry("a/evil", Content::File(0)),
        ],
        vec![entry("evil", Content::File(0))],
        vec![root(), entry("b/evil", Content::File(0))],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut receiver = receiver(directory.path().join("to"));
        let failure = received(&mut receiver, &frames).unwrap_err();
        let is_clear = matches!(failure.kind, FailureKind::OutsideDestination)
            || failure.message.ends_with("something else has its name");
        assert!(is_clear, "{failure}");
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
        assert!(!directory.path().join("evil").exists());
    }
}

#[test]
fn a_tree_whose_root_is_a_link_is_refused_before_a_later_copy_follows_it() {
    let (outside, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = directory.path().join("to");
    let link = entry("", Content::Link(outside.path().into()));
    let frames = vec![link, (Kind::End, Vec::new())];
    let failure = received(&mut receiver(to.clone()), &frames).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Malformed, "{failure}");
    assert!(to.symlink_metadata().is_err());
}

#[test]
fn a_directory_that_was_there_keeps_its_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("source");
    fs::create_dir_all(to.join("old")).unwrap();
    for path in [&to, &to.join("old")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let names = ["", "new", "old"];
    let mut frames = names.map(|path| entry(path, Content::Directory)).to_vec();
    frames.push((Kind::End, Vec::new()));
    received(&mut receiver(directory.path().to_owned()), &frames).unwrap();
    assert_eq!(listing(&to), [" 700", "new 755", "old 700"]);
}

#[test]
fn a_file_that_says_that_it_is_empty_is_read_up_to_a_bound() {
    let path = Path::new("/proc/version");
    assert_eq!(path.metadata().unwrap().len(), 0);
    let (frames, copied) = sent(path);
    let expected = fs::read(path).unwrap();
    assert_eq!(copied.bytes, u64::try_from(expected.len()).unwrap());
    assert_eq!(frames[1], (Kind::Content, expected));
    // Eight bytes for each page that an address could name.
    let failure = send(Path::new("/proc/self/pagemap"), |_, _| Ok::<_, ()>(()));
    let Err(SendError::Source(failure)) = failure else {
        unreachable!("{failure:?}");
    };
    let expected = "cannot copy '/proc/self/pagemap': it does not tell its length, and has more than 16777216 bytes";
    assert_eq!(failure.message, expected);
}

#[test]
fn special_permissions_are_dropped_where_they_are_not_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = receiver(directory.path().join("to"));
    let frames = vec![entry("", Content::File(0)), (Kind::End, Vec::new())];
    received(&mut receiver, &frames).unwrap();
    let mode = directory
        .path()
        .join("to")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn a_copy_that_is_interrupted_leaves_the_file_of_before() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("to");
    fs::write(&to, "before").unwrap();
    let mut receiver = receiver(to.clone());
    let frames = vec![
        entry("", Content::File(10)),
        (Kind::Content, b"after".to_vec()),
    ];
    received(&mut receiver, &frames).unwrap();
    drop(receiver);
    assert_eq!(fs::read(&to).unwrap(), b"before");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn frames_that_are_no_tree_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for frames in [
        vec![(Kind::End, Vec::new())],
        vec![(Kind::Content, b"x".to_vec())],
        vec![entry("", Content::File(1)), (Kind::Content, b"xy".to_vec())],
        vec![entry("", Content::File(1)), (Kind::End, Vec::new())],
        vec![
            entry("", Content::Directory),
            (Kind::Content, b"x".to_vec()),
        ],
        vec![(Kind::Entry, b"{}".to_vec())],
        vec![(Kind::Hello, b"{}".to_vec())],
    ] {
        let mut receiver = receiver(directory.path().join("to"));
        let failure = received(&mut receiver, &frames).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Malformed, "{failure}");
    }
}

#[test]
fn what_cannot_be_copied_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let failure = send(&missing, |_, _| Ok::<_, ()>(()));
    let Err(SendError::Source(failure)) = failure else {
        unreachable!("{failure:?}");
    };
    let expected = format!(
        "cannot read '{}': there is no such file or directory",
        missing.display()
    );
    assert_eq!(
        (failure.kind, failure.message),
        (FailureKind::NoSuchFile, expected)
    );
    let fifo = directory.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let Err(SendError::Source(failure)) = send(&fifo, |_, _| Ok::<_, ()>(())) else {
        unreachable!("a FIFO");
    };
    assert!(
        failure
            .message
            .ends_with("neither a file, a directory nor a symbolic link"),
        "{failure}"
    );
    let path = directory.path().join("no/such");
    let name = OsString::from("x");
    let failure = Receiver::new(&Destination {
        path,
        name,
        mode_mask: 0o777,
    })
    .unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoSuchDirectory, "{failure}");
    for full in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
        assert_eq!(failed("x", &full.into()).kind, FailureKind::NoSpace);
    }
}
