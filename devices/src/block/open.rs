//! Which backend carries out a disk's requests.

use std::io;
use std::str::FromStr;
use std::sync::Arc;

use super::engine::thread_pool::ThreadPool;
use super::engine::uring::Uring;
use super::format::probe_guard::Probed;
use super::format::qcow2::disk::Qcow2Image;
use super::host::image::Image;
use super::model::backend::Backend;
use super::model::errno::Errno;
use crate::thread::ThreadStart;

/// How a disk's requests are carried out (QEMU `aio`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aio {
    /// Through io_uring where the kernel offers it, otherwise in threads.
    #[default]
    Best,
    /// Through io_uring, or not at all.
    IoUring,
    /// By blocking system calls in threads.
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
    /// It was to be io_uring.
    #[error("aio=io_uring: {}", Errno::of(.0))]
    IoUring(#[source] io::Error),
    /// It was to be io_uring, and the image is one that only threads can use.
    #[error(
        "aio=io_uring: only a raw image can be used through io_uring; leave it out, or aio=threads"
    )]
    Format,
    /// The host refused a descriptor.
    #[error("{}", Errno::of(.0))]
    Threads(#[source] io::Error),
}

impl Aio {
    /// A backend on an image, for the disk of that name. Says in one line of the log which it is. If
    /// it has threads, they begin with `threads`.
    ///
    /// # Errors
    ///
    /// [`AioError`] when the host refuses what was asked for.
    pub fn start(
        self,
        image: Image,
        name: &str,
        threads: &ThreadStart,
    ) -> Result<Box<dyn Backend>, AioError> {
        self.start_with(image, name, threads, Uring::new)
    }

    /// The same for an image of which nobody said that it is raw: nothing is written to it that
    /// would make it look like something else.
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
    /// [`AioError`] when it was to be io_uring, or the host refuses a descriptor.
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
