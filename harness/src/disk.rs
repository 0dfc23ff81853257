//! A machine's disks.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A disk of a machine, as described by `--drive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    image: Image,
    id: Option<String>,
    format: String,
    options: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Image {
    /// To be created with this size in bytes.
    Scratch(u64),
    At(PathBuf),
}

impl Disk {
    /// An empty disk of this size in bytes. Its image is sparse, and is removed with the machine.
    pub fn scratch(bytes: u64) -> Self {
        Self::new(Image::Scratch(bytes))
    }

    /// A disk on an existing image, which stays. It is raw by default.
    pub fn image(path: impl Into<PathBuf>) -> Self {
        Self::new(Image::At(path.into()))
    }

    fn new(image: Image) -> Self {
        Self {
            image,
            id: None,
            format: "raw".to_owned(),
            options: Vec::new(),
        }
    }

    /// Sets the disk's name in commands and events; `disk0` for the first, `disk1` for the second by default.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the image's format: `raw` or `qcow2`.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = format.into();
        self
    }

    /// Adds a key of `--drive`, such as `werror` with `stop`.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((key.into(), value.into()));
        self
    }

    /// A disk with this name and a write cache that a power cut empties (`volatile-cache=on`), as needed for
    /// [`power_cut`](crate::fault::power_cut).
    pub fn volatile(self, id: impl Into<String>) -> VolatileDisk {
        let id = id.into();
        let disk = self.id(id.clone()).option("volatile-cache", "on");
        VolatileDisk { disk, id }
    }

    /// Creates in `directory` what has to be created. The disk is the machine's `index`-th.
    pub(crate) fn attach(&self, directory: &Path, index: usize) -> Result<Attached, Error> {
        let image = match &self.image {
            Image::Scratch(bytes) => scratch(directory.join(format!("disk{index}.img")), *bytes)?,
            Image::At(path) => path.clone(),
        };
        let id = self.id.clone().unwrap_or_else(|| format!("disk{index}"));
        let mut drive = format!(
            "file={},format={},id={}",
            value(&image.to_string_lossy()),
            value(&self.format),
            value(&id)
        );
        for (key, text) in &self.options {
            drive.push_str(&format!(",{key}={}", value(text)));
        }
        Ok(Attached { id, image, drive })
    }
}

/// A disk that loses unflushed writes at a power cut, made by [`Disk::volatile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolatileDisk {
    disk: Disk,
    id: String,
}

impl VolatileDisk {
    /// Its name in commands and events.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl From<VolatileDisk> for Disk {
    fn from(disk: VolatileDisk) -> Self {
        disk.disk
    }
}

/// A disk of a running machine.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) id: String,
    pub(crate) image: PathBuf,
    /// The value of `--drive`.
    pub(crate) drive: String,
}

fn scratch(path: PathBuf, bytes: u64) -> Result<PathBuf, Error> {
    let made = File::create(&path).and_then(|file| file.set_len(bytes));
    match made {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Make { path, source }),
    }
}

/// A value in QEMU's syntax: a comma in it is doubled.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_disk_has_its_size_and_takes_no_space() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::scratch(1 << 40).option("werror", "stop");
        let attached = disk.attach(directory.path(), 3).unwrap();
        let image = directory.path().join("disk3.img");
        let metadata = image.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.blocks()), (1 << 40, 0));
        let expected = format!("file={},format=raw,id=disk3,werror=stop", image.display());
        assert_eq!(attached.drive, expected);
    }

    #[test]
    fn a_volatile_disk_has_its_cache() {
        let disk = Disk::image("/d").option("werror", "stop").volatile("data");
        assert_eq!(disk.id(), "data");
        let attached = Disk::from(disk).attach(Path::new("/no/such"), 0).unwrap();
        let expected = "file=/d,format=raw,id=data,werror=stop,volatile-cache=on";
        assert_eq!(
            (attached.drive.as_str(), attached.id.as_str()),
            (expected, "data")
        );
    }

    #[test]
    fn a_comma_in_a_path_is_escaped() {
        let disk = Disk::image("/a,b.qcow2").format("qcow2").id("d");
        let attached = disk.attach(Path::new("/no/such"), 0).unwrap();
        assert_eq!(attached.drive, "file=/a,,b.qcow2,format=qcow2,id=d");
        assert_eq!(attached.id, "d");
    }

    #[test]
    fn a_disk_that_cannot_be_created_is_named() {
        let error = Disk::scratch(u64::MAX).attach(Path::new("/no/such"), 0);
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "cannot make '/no/such/disk0.img'");
    }
}
