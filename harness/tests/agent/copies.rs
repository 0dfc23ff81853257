//! Files and trees, in and out.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use faultvisor_agent_protocol::frame::{self, Kind};
use faultvisor_agent_protocol::hello::Hello;
use faultvisor_agent_protocol::request::{Content, Entry};
use faultvisor_harness::Guest;
use faultvisor_harness::guest::FailureKind;
use faultvisor_harness::guest::connect::Address;

use crate::under_test::Agent;

/// Whether two trees are the same, with permissions and targets of links.
fn compare(one: &Path, other: &Path) {
    let diff = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([one, other])
        .output();
    let diff = diff.unwrap();
    assert!(
        diff.status.success(),
        "{}",
        String::from_utf8_lossy(&diff.stdout)
    );
    let modes = |root: &Path| {
        let find = Command::new("find")
            .args([".", "-printf", "%P %y %m %l\n"])
            .current_dir(root)
            .output();
        let mut lines: Vec<_> = String::from_utf8(find.unwrap().stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(modes(one), modes(other));
}

#[test]
fn a_tree_that_goes_in_and_comes_out_again_compares_equal() {
    let agent = Agent::start();
    let source = agent.path("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    let big: Vec<u8> = (0..=250).cycle().take(10 << 20).collect();
    fs::write(source.join("deep/er/big"), big).unwrap();
    for number in 0..200 {
        fs::write(source.join(format!("small {number}")), number.to_string()).unwrap();
    }
    symlink("deep/er", source.join("link")).unwrap();
    fs::set_permissions(source.join("small 7"), fs::Permissions::from_mode(0o4750)).unwrap();
    let inside = agent.path("inside");
    let copied = agent.guest.copy_in(&source, &inside).unwrap();
    assert_eq!(copied.files, 201);
    compare(&source, &inside);
    let again = agent.path("again");
    assert_eq!(agent.guest.copy_out(&inside, &again).unwrap(), copied);
    // A program that runs as another user does not come from a guest.
    fs::set_permissions(source.join("small 7"), fs::Permissions::from_mode(0o750)).unwrap();
    compare(&source, &again);
    // Into a directory, and a single file.
    let into = agent.path("into");
    fs::create_dir(&into).unwrap();
    agent.guest.copy_in(source.join("small 1"), &into).unwrap();
    assert_eq!(fs::read(into.join("small 1")).unwrap(), b"1");
}

#[test]
fn what_is_missing_on_either_side_is_named() {
    let agent = Agent::start();
    let (missing, there) = (agent.path("missing"), agent.path("there"));
    fs::write(&there, "").unwrap();
    let (missing, there) = (missing.display(), there.display());
    let error = agent
        .guest
        .copy_in(missing.to_string(), "/tmp/x")
        .unwrap_err();
    let expected = format!(
        "copying '{missing}' to '/tmp/x' in the guest: No such file or directory (os error 2)"
    );
    assert_eq!(format!("{error:?}"), expected);
    let error = agent
        .guest
        .copy_in(there.to_string(), "/no/such/x")
        .unwrap_err();
    let expected = format!(
        "copying '{there}' to '/no/such/x' in the guest: cannot copy to '/no/such': there is no such file or directory"
    );
    assert_eq!(error.to_string(), expected);
    let error = agent
        .guest
        .copy_out("/no/such", there.to_string())
        .unwrap_err();
    let expected = format!(
        "copying '/no/such' in the guest to '{there}': cannot read '/no/such': there is no such file or directory"
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.kind(), Some(FailureKind::NoSuchFile));
}

#[test]
fn a_failure_in_the_guest_ends_a_long_copy_early() {
    let agent = Agent::start();
    let big = agent.path("big");
    // Sparse: nobody wants to send all of it.
    fs::File::create(&big).unwrap().set_len(1 << 40).unwrap();
    let error = agent
        .guest
        .copy_in(&big, "/proc/x")
        .unwrap_err()
        .to_string();
    assert!(error.contains(": cannot write '/proc/x': "), "{error}");
}

#[test]
fn a_file_of_proc_comes_out_whole() {
    let agent = Agent::start();
    let to = agent.path("version");
    let copied = agent.guest.copy_out("/proc/version", &to).unwrap();
    let expected = fs::read("/proc/version").unwrap();
    assert_eq!(fs::read(&to).unwrap(), expected);
    assert_eq!((copied.files, copied.bytes), (1, expected.len() as u64));
}

#[test]
fn a_full_file_system_is_one_clear_line_and_leaves_no_half_file() {
    let agent = Agent::start();
    let full = agent.path("full");
    fs::create_dir(&full).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&full)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        // An ordinary user cannot mount.
        return;
    }
    let big = agent.path("big");
    fs::write(&big, vec![1; 4 << 20]).unwrap();
    let copied = agent.guest.copy_in(&big, full.join("x"));
    let left = fs::read_dir(&full).unwrap().count();
    let umount = Command::new("umount").arg(&full).status();
    assert!(umount.unwrap().success());
    let error = copied.unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::NoSpace), "{error}");
    let message = error.to_string();
    assert!(
        message.ends_with("full/x': the file system is full"),
        "{message}"
    );
    assert_eq!(left, 0);
}

#[test]
fn a_hostile_guest_writes_nothing_outside_of_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let hostile = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        frame::write_message(&mut stream, Kind::Hello, &Hello::of("hostile")).unwrap();
        for (path, content) in [("", Content::Directory), ("../evil", Content::File(1))] {
            let entry = Entry {
                path: path.into(),
                content,
                mode: 0o6777,
            };
            frame::write_message(&mut stream, Kind::Entry, &entry).unwrap();
        }
        let _ = stream.write_all(b"rest");
    });
    let guest = Guest::at(Address::Unix(socket));
    let error = guest
        .copy_out("/data", directory.path().join("copy"))
        .unwrap_err();
    assert_eq!(
        error.kind(),
        Some(FailureKind::OutsideDestination),
        "{error}"
    );
    hostile.join().unwrap();
    assert!(!directory.path().join("evil").exists());
}
