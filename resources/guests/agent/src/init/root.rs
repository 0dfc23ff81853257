//! Follows the first process from an initramfs to the root that it switches to.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags, open, openat, stat, statat};
use rustix::process::{chroot, fchdir};

/// The root of the first process, as `/proc` shows it.
#[derive(Debug)]
pub struct FirstRoot {
    proc: OwnedFd,
}

impl FirstRoot {
    /// By a `/proc` that is mounted here.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn by(proc: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = open(proc, flags, Mode::empty())?;
        Ok(Self { proc })
    }

    /// Whether it is another one than this process's.
    fn differs(&self) -> io::Result<bool> {
        let first = statat(&self.proc, "1/root/", AtFlags::empty())?;
        let own = stat("/")?;
        Ok((first.st_dev, first.st_ino) != (own.st_dev, own.st_ino))
    }

    /// Waits until the first process has left the initramfs, and follows it.
    ///
    /// # Errors
    ///
    /// The system refuses it.
    pub fn follow(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mounts = File::from(openat(&self.proc, "self/mountinfo", flags, Mode::empty())?);
        while !self.differs()? {
            // It is ready when a mount has changed, as proc(5) says.
            let mut watched = [PollFd::new(&mounts, PollFlags::PRI)];
            poll(&mut watched, None)?;
        }
        let root = openat(
            &self.proc,
            "1/root",
            OFlags::DIRECTORY | flags,
            Mode::empty(),
        )?;
        fchdir(root)?;
        Ok(chroot(".")?)
    }
}
