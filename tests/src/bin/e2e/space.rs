//! Lack of space on the host: small file systems, block devices on them, and limits on the size of files.

use std::fs;
use std::path::{Path, PathBuf};

use faultvisor_tests::suite::Failure;
use faultvisor_tests::tool;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A small file system of the test's own, unmounted on drop.
#[derive(Debug)]
pub struct SmallFileSystem {
    mount_point: PathBuf,
}

impl SmallFileSystem {
    /// Mounts one on a new directory. Skips the test if that is not permitted.
    pub fn mount(mount_point: PathBuf, mebibytes: u64) -> Result<Self, Failure> {
        fs::create_dir(&mount_point)?;
        let mut mount = tool::command("mount")?;
        mount.args(["-t", "tmpfs", "-o"]);
        mount.arg(format!("size={mebibytes}m")).arg("tmpfs");
        tool::run(mount.arg(&mount_point)).map_err(|error| Failure::skip(error.to_string()))?;
        Ok(Self { mount_point })
    }

    /// A path on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount_point.join(name)
    }

    /// Resizes it.
    pub fn resize(&self, mebibytes: u64) -> Result<(), Failure> {
        let mut mount = tool::command("mount")?;
        mount.arg("-o").arg(format!("remount,size={mebibytes}m"));
        tool::run(mount.arg(&self.mount_point))?;
        Ok(())
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // A machine may still have a file on it open.
        if let Ok(mut umount) = tool::command("umount") {
            let _ = umount.arg("-l").arg(&self.mount_point).output();
        }
    }
}

/// A block device backed by a file, detached on drop.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches a file to a device. Skips the test if that is not permitted.
    pub fn attach(file: &Path) -> Result<Self, Failure> {
        let skip = |error: tool::ToolError| Failure::skip(error.to_string());
        let free = tool::output(tool::command("losetup")?.arg("-f")).map_err(skip)?;
        let path = PathBuf::from(String::from_utf8_lossy(&free).trim());
        tool::run(tool::command("losetup")?.arg(&path).arg(file)).map_err(skip)?;
        Ok(Self { path })
    }

    /// The device's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Ok(mut losetup) = tool::command("losetup") {
            let _ = losetup.arg("-d").arg(&self.path).output();
        }
    }
}

/// Limits the size of a process's files.
pub fn limit_file_size(process: u32, bytes: Option<u64>) -> Result<(), Failure> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit)?;
    Ok(())
}
