//! Output files, opened without blocking.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use faultvisor_devices::block::model::errno::Errno;

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputFileError {
    /// A FIFO without a reader: opening it would block.
    #[error("it is a FIFO that nobody reads")]
    NoReader,
    /// The host refuses to open it.
    #[error("{}", Errno::of(_0))]
    Host(#[from] io::Error),
}

/// Creates a file, or truncates it. Writes to a FIFO or a device do not block
/// ([`faultvisor_devices::blocking::Blocking`] waits).
///
/// # Errors
///
/// [`OutputFileError`]
pub fn create(path: &Path) -> Result<File, OutputFileError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_fifo(path) => {
            return Err(OutputFileError::NoReader);
        }
        result => result?,
    };
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

fn is_fifo(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_fifo_is_refused_without_a_reader_and_written_with_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = create(&path).unwrap_err();
        assert_eq!(error.to_string(), "it is a FIFO that nobody reads");
        let mut reader = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        create(&path).unwrap().write_all(b"text").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }

    #[test]
    fn a_file_that_is_there_is_emptied_and_other_things_are_not_asked_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "long text").unwrap();
        create(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        create(Path::new("/dev/null")).unwrap();
        let error = create(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "Is a directory");
    }
}
