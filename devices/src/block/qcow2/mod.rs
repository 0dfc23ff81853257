//! qcow2 images: a disk in a file that grows with what is written, on top of another image or not.
//!
//! The format's tables are the business of a library, imago. What is done here is everything
//! around it: `header` judges an image before the library sees it, `chain` finds and locks the
//! images under it, `layer` is the file as the library uses it and keeps the order in which it
//! reaches the medium, `metadata` knows where the tables are so that no write of a guest hits one,
//! and `disk` carries out requests. The guest's data does not pass through the library: it says
//! where something is, and the bytes go between the file and the guest's memory as those of a raw
//! image do.
//!
//! The library keeps at most 128 tables and 32 blocks of refcounts of each image in memory, each
//! as large as a cluster.
//!
//! The library reports what is wrong with a table when it is read, or when it would have to be
//! changed to something impossible; that becomes a [`Corruption`]. It does not notice two entries
//! that lead to one cluster, or a cluster in use whose refcount is zero, unless it is a table's.

mod chain;
mod corruption;
mod discard;
mod disk;
mod error;
mod header;
mod layer;
mod metadata;
#[cfg(test)]
mod tests;
mod unsynced;

pub use chain::{BackingFiles, ImageFormat, LayerInfo};
pub use corruption::{Corruption, CorruptionObserver};
pub use disk::Qcow2Image;
pub use error::FormatError;
pub(in crate::block) use header::MAGIC;
