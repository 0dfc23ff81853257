//! Opening a disk image, which is a file or a block device.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::direct_io::{self, Alignment, CacheMode};
use super::discard_limits;
use super::image_error::ImageError;
use super::locking::{self, LockError, Locking};
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, SECTOR_SIZE};

/// Options for opening an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageOptions {
    /// Whether the guest may write.
    pub access: Access,
    /// Whether the image is locked.
    pub locking: Locking,
    /// The cache mode.
    pub cache: CacheMode,
}

/// A file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::block) enum Contents {
    /// The disk's bytes: whole sectors.
    Disk,
    /// A format that contains them.
    Container,
}

/// An open raw image.
#[derive(Debug)]
pub struct Image {
    file: File,
    /// The descriptor that holds the locks. It is separate, as a ring holds its files for a while after the program has
    /// ended, and a program started at once again would find the image in use.
    _lock: Option<File>,
    direct: Option<Direct>,
    cache: CacheMode,
    path: PathBuf,
    length: AtomicU64,
    access: Access,
    capabilities: Capabilities,
    /// The first failed flush; see [`Image::may_flush`].
    failed_flush: OnceLock<Errno>,
}

/// Additional parts of an image with direct I/O.
#[derive(Debug)]
struct Direct {
    alignment: Alignment,
    /// The same image, buffered, for transfers that are not aligned.
    cached: File,
}

impl Image {
    /// Opens a raw file or block device, and locks it.
    ///
    /// # Errors
    ///
    /// [`ImageError`] names the path and the reason.
    pub fn open(path: &Path, options: ImageOptions) -> Result<Self, ImageError> {
        Self::open_as(path, options, Contents::Disk)
    }

    /// Opens and locks a file or block device with these contents.
    pub(in crate::block) fn open_as(
        path: &Path,
        options: ImageOptions,
        contents: Contents,
    ) -> Result<Self, ImageError> {
        let ImageOptions {
            access,
            locking,
            cache,
        } = options;
        let open_error = |error| ImageError::Open(path.to_owned(), error);
        let kind = std::fs::metadata(path).map_err(open_error)?.file_type();
        // Examined before it is opened: opening a pipe would block.
        let wrong = if kind.is_dir() {
            Some("a directory")
        } else if kind.is_char_device() {
            Some("a character device")
        } else if kind.is_fifo() {
            Some("a pipe")
        } else if kind.is_socket() {
            Some("a socket")
        } else {
            None
        };
        if let Some(kind) = wrong {
            let path = path.to_owned();
            return Err(ImageError::Kind { path, kind });
        }
        let mut open = OpenOptions::new();
        open.read(true).write(access == Access::ReadWrite);
        let mut file = open.open(path).map_err(open_error)?;
        if access == Access::ReadWrite
            && discard_limits::is_read_only_device(&file).map_err(open_error)?
        {
            return Err(ImageError::ReadOnlyDevice(path.to_owned()));
        }
        let lock = lock(&file, path, access, locking)?;
        // A block device has no length in its metadata; its end is found by seeking.
        let length = file
            .seek(SeekFrom::End(0))
            .map_err(|error| ImageError::Size(path.to_owned(), error))?;
        if contents == Contents::Disk && length % SECTOR_SIZE != 0 {
            let path = path.to_owned();
            return Err(ImageError::Unaligned { path, length });
        }
        let capabilities = match access {
            Access::ReadWrite if contents == Contents::Disk => {
                discard_limits::capabilities(&file, length)
            }
            _ => Capabilities::default(),
        };
        let mut direct = None;
        if cache == CacheMode::None {
            let cached = file;
            file = open_direct(&mut open, &cached, path)?;
            let alignment = direct_io::alignment(&file);
            let alignment = alignment.ok_or_else(|| ImageError::NotDirect(path.to_owned()))?;
            direct = Some(Direct { alignment, cached });
        }
        Ok(Self {
            file,
            _lock: lock,
            direct,
            cache,
            path: path.to_owned(),
            length: AtomicU64::new(length),
            access,
            capabilities,
            failed_flush: OnceLock::new(),
        })
    }

    /// An image on this file, without checks.
    #[cfg(test)]
    pub(in crate::block) fn with_file(file: File, length: u64) -> Self {
        Self {
            file,
            _lock: None,
            direct: None,
            cache: CacheMode::Writeback,
            path: PathBuf::new(),
            length: AtomicU64::new(length),
            access: Access::ReadWrite,
            capabilities: Capabilities::default(),
            failed_flush: OnceLock::new(),
        }
    }

    /// The same image with buffered I/O only. The meaning of a flush stays.
    pub(in crate::block) fn through_page_cache(self) -> Self {
        match self.direct {
            Some(Direct { cached, .. }) => Self {
                file: cached,
                direct: None,
                ..self
            },
            None => self,
        }
    }

    /// Makes the host require a larger alignment.
    #[cfg(test)]
    pub(in crate::block) fn align_to(&mut self, memory: usize, file: usize) {
        if let Some(direct) = &mut self.direct {
            direct.alignment = Alignment { memory, file };
        }
    }

    /// The open file, for direct I/O if the cache mode says so.
    pub(in crate::block) fn file(&self) -> &File {
        &self.file
    }

    /// The open file for buffered I/O, with any offset and length.
    pub fn cached_file(&self) -> &File {
        self.direct
            .as_ref()
            .map_or(&self.file, |direct| &direct.cached)
    }

    /// The alignment of transfers on [`Image::file`], if they need one.
    pub(in crate::block) fn alignment(&self) -> Option<Alignment> {
        self.direct.as_ref().map(|direct| direct.alignment)
    }

    /// The cache mode.
    pub fn cache(&self) -> CacheMode {
        self.cache
    }

    /// Whether a flush may be tried.
    ///
    /// After a failed flush every later one fails, as in QEMU: the kernel reports a write-back error once, may drop the
    /// pages that it could not write, and lets the next `fdatasync` succeed although the data are lost.
    pub(in crate::block) fn may_flush(&self) -> Result<(), Errno> {
        self.failed_flush.get().map_or(Ok(()), |errno| Err(*errno))
    }

    /// Records a failed flush, and returns the errno of the first.
    pub(in crate::block) fn flush_failed(&self, errno: Errno) -> Errno {
        *self.failed_flush.get_or_init(|| errno)
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length in bytes, as opened or as resized since; a multiple of [`SECTOR_SIZE`].
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// What the host supports beside reads and writes.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Sets the length of a file. A block device keeps its length: a shorter disk uses its beginning, as in QEMU.
    ///
    /// # Errors
    ///
    /// The host's error; EINVAL for a length beyond a block device.
    pub(in crate::block) fn resize(&self, length: u64) -> Result<(), Errno> {
        let mut file = self.cached_file();
        let errno = |error: io::Error| Errno::of(&error);
        if file
            .metadata()
            .map_err(errno)?
            .file_type()
            .is_block_device()
        {
            if length > file.seek(SeekFrom::End(0)).map_err(errno)? {
                return Err(Errno(libc::EINVAL));
            }
        } else {
            file.set_len(length).map_err(errno)?;
        }
        self.length.store(length, Ordering::Release);
        Ok(())
    }

    /// Whether the guest may write.
    pub fn access(&self) -> Access {
        self.access
    }
}

/// Opens an open file again, for direct I/O.
fn open_direct(open: &mut OpenOptions, file: &File, path: &Path) -> Result<File, ImageError> {
    let direct = open.custom_flags(libc::O_DIRECT).open(path);
    let direct = direct.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => ImageError::NotDirect(path.to_owned()),
        _ => ImageError::Open(path.to_owned(), error),
    })?;
    same_file(&direct, file, path)?;
    Ok(direct)
}

/// Locks an open image, as far as it is asked for and possible. The returned descriptor holds the locks.
fn lock(
    file: &File,
    path: &Path,
    access: Access,
    locking: Locking,
) -> Result<Option<File>, ImageError> {
    if locking == Locking::Off {
        return Ok(None);
    }
    let holder = File::open(path).map_err(|error| ImageError::Lock(path.to_owned(), error))?;
    same_file(&holder, file, path)?;
    match locking::lock(&holder, access) {
        Ok(()) => Ok(Some(holder)),
        Err(LockError::InUse) => Err(ImageError::InUse(path.to_owned())),
        Err(LockError::Unsupported(error)) if locking == Locking::Auto => {
            tracing::warn!(
                "'{}' cannot be locked, and nothing keeps others from writing it: {}",
                path.display(),
                Errno::of(&error)
            );
            Ok(None)
        }
        Err(LockError::Unsupported(error) | LockError::Refused(error)) => {
            Err(ImageError::Lock(path.to_owned(), error))
        }
    }
}

/// Fails if a path that was opened again refers to another file than before.
fn same_file(again: &File, before: &File, path: &Path) -> Result<(), ImageError> {
    let identity = |file: &File| {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| ImageError::Open(path.to_owned(), error))?;
        Ok((metadata.dev(), metadata.ino()))
    };
    if identity(again)? == identity(before)? {
        Ok(())
    } else {
        Err(ImageError::Replaced(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, access: Access) -> Result<Image, ImageError> {
        let options = ImageOptions {
            access,
            ..ImageOptions::default()
        };
        Image::open(path, options)
    }

    #[test]
    fn an_unusable_image_is_refused_by_name_and_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let message = |path: &Path| open(path, Access::ReadWrite).unwrap_err().to_string();
        std::fs::write(path("odd"), [0; 700]).unwrap();
        let missing = message(&path("missing"));
        assert!(
            missing.ends_with("missing': No such file or directory"),
            "{missing}"
        );
        assert!(message(dir.path()).ends_with("is a directory, not a file or a block device"));
        assert!(message(Path::new("/dev/null")).contains("is a character device"));
        assert!(message(&path("odd")).ends_with("700 bytes, is not a multiple of 512"));
    }

    #[test]
    fn a_read_only_image_needs_no_permission_to_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1024).unwrap();
        let image = open(file.path(), Access::ReadOnly).unwrap();
        assert_eq!((image.length(), image.access()), (1024, Access::ReadOnly));
        assert!(io::Write::write(&mut image.file(), b"x").is_err());
    }

    #[test]
    fn an_image_has_one_writer_unless_locking_is_off() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = open(file.path(), Access::ReadWrite).unwrap();
        let refused = |access, locking| {
            let options = ImageOptions {
                access,
                locking,
                ..ImageOptions::default()
            };
            Image::open(file.path(), options).map_err(|error| error.to_string())
        };
        let in_use = format!(
            "image '{}' is in use by another process or drive",
            file.path().display()
        );
        for locking in [Locking::Auto, Locking::On] {
            for access in [Access::ReadWrite, Access::ReadOnly] {
                assert_eq!(refused(access, locking).unwrap_err(), in_use);
            }
        }
        refused(Access::ReadWrite, Locking::Off).unwrap();
        let _alone = crate::block::tests::bench::no_other_children();
        drop(first);
        let _reader = open(file.path(), Access::ReadOnly).unwrap();
        refused(Access::ReadOnly, Locking::On).unwrap();
        assert_eq!(refused(Access::ReadWrite, Locking::On).unwrap_err(), in_use);
    }
}
