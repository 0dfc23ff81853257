//! The file that all contenders read and write.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use faultvisor_tests::artifact;
use faultvisor_tests::bare::content;

/// The use of the host's page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cache {
    /// The page cache is bypassed.
    None,
    /// The page cache has all of the file.
    Writeback,
}

/// A file and its cache mode.
#[derive(Debug)]
pub struct Medium {
    image: PathBuf,
    /// The cache mode.
    pub cache: Cache,
}

const SEED: u64 = 1;
const SECTORS_PER_MIB: u64 = 2048;
/// The unit of `stat`'s block count.
const STAT_BLOCK: u64 = 512;

impl Medium {
    /// Writes the file, unless it exists with every block allocated; with `Writeback`, reads it into the page cache.
    pub fn prepare(
        directory: &Path,
        mib: u64,
        cache: Cache,
        note: &dyn Fn(&str),
    ) -> Result<Self, Box<dyn Error>> {
        let image = directory.join("faultvisor-bench.raw");
        if !is_whole(&image, mib) {
            note(&format!("writing {mib} MiB to {}", image.display()));
            artifact::replace(&image, |path| -> Result<(), artifact::ArtifactError> {
                write(path, mib).map_err(|error| artifact::ArtifactError::new("write", path, error))
            })?;
        }
        if cache == Cache::Writeback {
            io::copy(&mut File::open(&image)?, &mut io::sink())?;
        }
        Ok(Self { image, cache })
    }

    /// The file.
    pub fn image(&self) -> &Path {
        &self.image
    }
}

/// A sparse file would be faster than the medium.
fn is_whole(image: &Path, mib: u64) -> bool {
    fs::metadata(image).is_ok_and(|metadata| {
        metadata.len() == mib << 20 && metadata.blocks() * STAT_BLOCK >= mib << 20
    })
}

fn write(path: &Path, mib: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    for number in 0..mib {
        file.write_all(&content(SEED, number * SECTORS_PER_MIB, 2048))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_file_with_holes_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("faultvisor-bench.raw");
        let file = File::create(&image).unwrap();
        file.set_len(2 << 20).unwrap();
        assert!(!is_whole(&image, 2));
        let medium = Medium::prepare(directory.path(), 2, Cache::Writeback, &|_| {}).unwrap();
        let mut bytes = Vec::new();
        File::open(medium.image())
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(bytes == content(SEED, 0, 4096));
        assert!(is_whole(&image, 2));
    }
}
