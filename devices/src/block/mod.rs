//! The block layer: what a disk does, without a word of virtio.
//!
//! A [`Request`] names an operation, its place, and the guest memory it moves. A [`Backend`] takes
//! requests and later gives back a [`Completion`] for each, whose result keeps the errno to the
//! end: in the kernel, through [`Uring`], or in threads ([`ThreadPool`]), which a [`Qcow2Image`]
//! takes, too. What has to be done for a request, and what becomes of it, is the same for both
//! (`progress`). A [`VolatileCache`] stands in front of any of them, and loses what a power cut is to
//! take. [`policy`] decides what becomes of a failure, [`throttle`] when a request may begin.

pub mod aio;
pub mod backend;
pub mod buffers;
pub mod cache;
pub mod chance;
pub mod errno;
pub mod fault;
pub mod image;
mod limits;
pub mod locking;
pub mod policy;
mod pool;
pub mod power;
mod probed;
pub mod probing;
mod progress;
pub mod qcow2;
mod raw;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod throttle;
mod uring;
pub mod volatile;
mod write_threshold;

pub use aio::{Aio, AioError};
pub use backend::{
    Backend, Capabilities, Completion, Durability, Operation, Range, RangeLimits, Request, Token,
    Zeroing,
};
pub use cache::CacheMode;
pub use errno::Errno;
pub use image::{Access, Image, ImageOptions, OpenError};
pub use locking::Locking;
pub use policy::{Action, ErrorPolicy, IoStatus, OnReadError, OnWriteError};
pub use pool::{Medium, ThreadPool};
pub use power::{Loss, PowerCut, Survival};
pub use probed::Probed;
pub use qcow2::Qcow2Image;
pub use statistics::Statistics;
pub use uring::Uring;
pub use volatile::VolatileCache;
pub use write_threshold::{Exceeded, WriteThreshold};

/// The unit of the virtio-blk protocol, whatever the block size is (virtio 1.2 §5.2.6).
pub const SECTOR_SIZE: u64 = 512;
