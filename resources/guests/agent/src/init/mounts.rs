//! File systems of a guest.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};
use rustix::process::{chdir, chroot};

use super::command_line::CommandLine;
use crate::kernel_log;

/// Where the root is mounted before it is one.
const NEW_ROOT: &str = "/.root";
/// How long a device may take to appear.
const DEVICE_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks for a device.
const PAUSE: Duration = Duration::from_millis(10);

/// What programs need: file system, place, flags, options.
fn wanted() -> [(&'static str, &'static str, MountFlags, &'static str); 9] {
    let safe = MountFlags::NOSUID | MountFlags::NODEV;
    let data = safe | MountFlags::NOEXEC;
    [
        ("proc", "/proc", data, ""),
        ("sysfs", "/sys", data, ""),
        ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755"),
        (
            "devpts",
            "/dev/pts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            "gid=5,mode=0620,ptmxmode=0666",
        ),
        ("tmpfs", "/dev/shm", safe, "mode=1777"),
        ("tmpfs", "/run", safe, "mode=0755"),
        ("tmpfs", "/tmp", safe, "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", data, ""),
        ("debugfs", "/sys/kernel/debug", data, ""),
    ]
}

/// Mounts whatever is not mounted yet.
pub fn all() {
    let mounted = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places: Vec<&str> = mounted
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    for (kind, place, flags, options) in wanted() {
        if places.contains(&place) {
            continue;
        }
        let made = directory(place);
        let mounted = made.and_then(|()| mount_at(kind, kind, place, flags, options));
        match mounted {
            // A kernel may do without these.
            Err(Errno::NODEV | Errno::NOENT) if matches!(kind, "cgroup2" | "debugfs") => {}
            Err(error) if error != Errno::BUSY => {
                kernel_log::say(&format!("cannot mount {kind} on {place}: {error}"));
            }
            _ => {}
        }
    }
}

/// Mounts a `/proc` somewhere else; whether that succeeded.
pub fn proc_at(place: &str) -> bool {
    directory(place).is_ok() && mount_at("proc", "proc", place, MountFlags::empty(), "").is_ok()
}

/// Unmounts and removes a place.
pub fn leave(place: &str) {
    let _ = unmount(place, UnmountFlags::DETACH);
    let _ = fs::remove_dir(place);
}

fn directory(place: &str) -> rustix::io::Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(place);
    made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn mount_at(
    source: &str,
    kind: &str,
    place: &str,
    flags: MountFlags,
    options: &str,
) -> rustix::io::Result<()> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount(source, place, kind, flags, Some(options.as_c_str()))
}

/// Makes a disk's file system the root. The mounts of the present one move.
///
/// # Errors
///
/// It cannot be mounted; one line.
pub fn switch_root(device: &str, how: &CommandLine) -> Result<(), String> {
    wait_for(device)?;
    let failed = |what: &str, error: Errno| format!("cannot {what}: {error}");
    directory(NEW_ROOT).map_err(|error| failed("make a place for the root", error))?;
    mount_root(device, how)?;
    for place in ["/proc", "/sys", "/dev", "/run", "/tmp"] {
        let to = format!("{NEW_ROOT}{place}");
        // On a root that is read-only it must be there.
        let moved = directory(&to).and_then(|()| mount_move(place, &to));
        if let Err(error) = moved {
            kernel_log::say(&format!("cannot move {place} to the root: {error}"));
        }
    }
    let entered = chdir(NEW_ROOT)
        .and_then(|()| mount_move(".", "/"))
        .and_then(|()| chroot("."))
        .and_then(|()| chdir("/"));
    entered.map_err(|error| failed("enter the root", error))
}

/// Waits for a device's node, which devtmpfs makes without telling anybody.
fn wait_for(device: &str) -> Result<(), String> {
    let by = Instant::now() + DEVICE_WITHIN;
    while !Path::new(device).exists() {
        if Instant::now() >= by {
            return Err(format!("there is no device '{device}' for the root"));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn mount_root(device: &str, how: &CommandLine) -> Result<(), String> {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = known.lines().filter(|line| !line.starts_with("nodev"));
    let mut kinds: Vec<&str> = match &how.file_system {
        Some(kind) => vec![kind],
        None => known.map(str::trim).collect(),
    };
    // The drivers of its predecessors complain in the log.
    kinds.sort_by_key(|kind| *kind != "ext4");
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, how.is_read_only);
    let mut last = None;
    for kind in &kinds {
        match mount_at(device, kind, NEW_ROOT, flags, &how.options) {
            Ok(()) => return Ok(()),
            // It is another one's.
            Err(Errno::INVAL) if last.is_some() => {}
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(
        || "the kernel knows no file system".to_owned(),
        |error| error.to_string(),
    );
    Err(format!(
        "cannot mount '{device}' as the root ({}): {why}",
        kinds.join(", ")
    ))
}
