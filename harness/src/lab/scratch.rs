//! The lab's disk: space for images of large disks, on a file system with direct I/O, which the lab's root file system,
//! in memory, lacks.

use std::path::Path;

use super::{Images, LabError};
use crate::cache::artifact::ArtifactError;
use crate::tool;

/// A disk with a file system. Its image, sparse until written, is removed on drop.
#[derive(Debug)]
pub struct ScratchDisk(tempfile::TempPath);

impl ScratchDisk {
    /// Creates one, with copies of the files in a directory if given.
    pub fn new(images: &Images, mebibytes: u64, contents: Option<&Path>) -> Result<Self, LabError> {
        let path = tempfile::Builder::new()
            .prefix("scratch-")
            .suffix(".img")
            .tempfile_in(&images.directory)
            .map_err(|error| ArtifactError::new("write a disk in", &images.directory, error))?
            .into_temp_path();
        // It never outlives one run of the lab: no journal.
        let mut mke2fs = tool::command("mke2fs")?;
        mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal"]);
        mke2fs.args(["-m", "0", "-E", "lazy_itable_init=1,root_owner=0:0"]);
        if let Some(contents) = contents {
            mke2fs.arg("-d").arg(contents);
        }
        tool::run(mke2fs.arg(&path).arg(format!("{mebibytes}M")))?;
        Ok(Self(path))
    }

    /// Its image.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
