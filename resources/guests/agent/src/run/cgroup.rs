//! A control group for each run, by which its processes are killed at once (cgroup v2).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use crate::agent::lock;

/// How the name of a group begins, before the agent's and the run's numbers.
const PREFIX: &str = "faultvisor-agent-";
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
        if run == 1 {
            sweep(&own);
        }
        let path = own.join(format!("{PREFIX}{}-{run}", std::process::id()));
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

    /// Removes it as soon as it has no members.
    pub fn remove(&self) {
        // Those whose last member was still ending before are tried again.
        static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
        let mut left = lock(&LEFT);
        left.push(self.path.clone());
        left.retain(|path| {
            fs::remove_dir(path).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
        });
    }
}

/// Removes the empty groups of agents that are gone.
fn sweep(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let agent = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if agent.is_some_and(|agent| !Path::new("/proc").join(agent).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
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
