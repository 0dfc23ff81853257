//! The block layer: what a disk does, without a word of virtio.
//!
//! A [`Request`] names an operation, its place, and the guest memory it moves. A [`Backend`] takes
//! requests and later gives back a [`Completion`] for each, whose result keeps the errno to the
//! end. [`policy`] decides what becomes of a failure.

pub mod backend;
pub mod buffers;
pub mod errno;
pub mod image;
pub mod locking;
pub mod policy;
mod pool;
mod raw;

pub use backend::{Backend, Completion, Durability, Operation, Request, Token};
pub use errno::Errno;
pub use image::{Access, Image, ImageOptions, OpenError};
pub use locking::Locking;
pub use policy::{Action, ErrorPolicy, IoStatus, OnReadError, OnWriteError};
pub use pool::ThreadPool;

/// The unit of the virtio-blk protocol, whatever the block size is (virtio 1.2 §5.2.6).
pub const SECTOR_SIZE: u64 = 512;
