//! A control group for each run, by which its processes are killed at once (cgroup v2).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// How often a group without `cgroup.kill` is looked at again.
const ROUNDS: usize = 100;

/// A control group.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a group below the agent's own; `None` where it may not.
    pub fn make(run: u64) -> Option<Self> {
        let own = own()?;
        let path = own.join(format!("faultvisor-agent-{}-{run}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    /// The file that takes the IDs of its members.
    pub fn members(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }

    /// Kills all members; false if that is not possible.
    pub fn kill(&self) -> bool {
        if fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return true;
        }
        // Linux before 5.14.
        for _ in 0..ROUNDS {
            let Ok(members) = fs::read_to_string(self.path.join("cgroup.procs")) else {
                return false;
            };
            let mut members = members.lines().filter_map(|id| id.parse().ok()).peekable();
            if members.peek().is_none() {
                return true;
            }
            for member in members.filter_map(Pid::from_raw) {
                let _ = kill_process(member, Signal::KILL);
            }
        }
        false
    }

    /// Removes it, if it has no members.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// The agent's own group.
fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounted = mounts.lines().find_map(mounted)?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mounted).join(group))
}

/// Where a line of mountinfo mounts the hierarchy of version 2.
fn mounted(line: &str) -> Option<&str> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, mounted) = (fields.next()?, fields.next()?);
    (after.starts_with("cgroup2 ") && root == "/").then_some(mounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_of_version_2_is_found() {
        let line = "42 32 0:39 / /sys/fs/cgroup/unified rw,relatime shared:1 - cgroup2 cgroup2 rw";
        assert_eq!(mounted(line), Some("/sys/fs/cgroup/unified"));
        let line = "42 32 0:39 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        assert_eq!(mounted(line), None);
    }
}
