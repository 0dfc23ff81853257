//! An image on the host, a kernel or an initrd, which every start of the machine reads again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A regular file, open for as long as the machine may start again from it.
#[derive(Debug)]
pub(super) struct ImageFile {
    file: File,
}

impl ImageFile {
    /// Opens a file. One that is not regular is refused: it could not be read a second time.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Opening a FIFO without a writer would block.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if !kind.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self { file })
    }

    /// The file, for positioned reads.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Its current size in bytes.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Its first bytes, up to `limit`.
    pub(super) fn head(&self, limit: usize) -> io::Result<Vec<u8>> {
        self.range(0, limit)
    }

    /// Bytes from `offset` on, up to `limit`.
    pub(super) fn range(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; limit];
        let mut length = 0;
        while length < limit {
            match self
                .file
                .read_at(&mut bytes[length..], offset.saturating_add(length as u64))
            {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            let error = ImageFile::open(path).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file");
        }
    }
}
