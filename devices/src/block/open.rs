//! The backend of a disk.

use std::io;
use std::str::FromStr;
use std::sync::Arc;

use crate::block::engine::thread_pool::ThreadPool;
use crate::block::engine::uring::Uring;
use crate::block::format::probe_guard::Probed;
use crate::block::format::qcow2::disk::Qcow2Image;
use crate::block::host::image::Image;
use crate::block::model::backend::Backend;
use crate::block::model::errno::Errno;
use crate::thread::ThreadStart;

/// The I/O engine of a disk (QEMU `aio`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aio {
    /// io_uring where the kernel supports it, otherwise threads.
    #[default]
    Best,
    /// io_uring, or an error.
    IoUring,
    /// Blocking system calls in threads.
    Threads,
}

impl FromStr for Aio {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "io_uring" => Ok(Self::IoUring),
            "threads" => Ok(Self::Threads),
            _ => Err("expected io_uring or threads"),
        }
    }
}

/// Why a disk has no backend.
#[derive(Debug, thiserror::Error)]
pub enum AioError {
    /// io_uring was requested and is not available.
    #[error("aio=io_uring: {}", Errno::of(.0))]
    IoUring(#[source] io::Error),
    /// io_uring was requested and the image's format needs threads.
    #[error(
        "aio=io_uring: only a raw image can be used through io_uring; leave it out, or aio=threads"
    )]
    Format,
    /// The host refused a descriptor.
    #[error("{}", Errno::of(.0))]
    Threads(#[source] io::Error),
}

impl Aio {
    /// Starts a backend on an image, for the disk of this name, and logs its kind. Its threads first call
    /// `threads`.
    ///
    /// # Errors
    ///
    /// [`AioError`] if the host refuses the requested engine.
    pub fn start(
        self,
        image: Image,
        name: &str,
        threads: &ThreadStart,
    ) -> Result<Box<dyn Backend>, AioError> {
        self.start_with(image, name, threads, Uring::new)
    }

    /// The same for a probed raw image, whose header is kept from looking like another format.
    ///
    /// # Errors
    ///
    /// As for [`Aio::start`].
    pub fn start_probed(
        self,
        image: Image,
        name: &str,
        threads: &ThreadStart,
    ) -> Result<Box<dyn Backend>, AioError> {
        let backend = self.start(image, name, threads)?;
        Ok(Box::new(Probed::new(backend)))
    }

    /// A backend on a qcow2 image.
    ///
    /// # Errors
    ///
    /// [`AioError`] if io_uring was requested, or the host refuses a descriptor.
    pub fn start_qcow2(
        self,
        image: Qcow2Image,
        name: &str,
        threads: &ThreadStart,
    ) -> Result<Box<dyn Backend>, AioError> {
        if self == Self::IoUring {
            return Err(AioError::Format);
        }
        tracing::info!("disk '{name}': requests on qcow2 are carried out by threads");
        let pool = ThreadPool::new(Arc::new(image), name, threads).map_err(AioError::Threads)?;
        Ok(Box::new(pool))
    }

    pub(in crate::block) fn start_with<B: Backend + 'static>(
        self,
        image: Image,
        name: &str,
        threads: &ThreadStart,
        io_uring: impl FnOnce(Arc<Image>) -> io::Result<B>,
    ) -> Result<Box<dyn Backend>, AioError> {
        let image = Arc::new(image);
        if self != Self::Threads {
            match io_uring(Arc::clone(&image)) {
                Ok(backend) => {
                    tracing::info!("disk '{name}': requests go through io_uring");
                    return Ok(Box::new(backend));
                }
                Err(error) if self == Self::IoUring => return Err(AioError::IoUring(error)),
                Err(error) => tracing::info!(
                    "disk '{name}': requests are carried out by threads, as io_uring says: {}",
                    Errno::of(&error)
                ),
            }
        } else {
            tracing::info!("disk '{name}': requests are carried out by threads");
        }
        let pool = ThreadPool::new(image, name, threads).map_err(AioError::Threads)?;
        Ok(Box::new(pool))
    }
}
