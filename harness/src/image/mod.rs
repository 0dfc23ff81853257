//! Guest images made of what this machine has: an initramfs with its programs, a disk with a file system.
//!
//! Nothing here needs root. What a program of this machine is missing for is named with the command that installs it.
//! Files are kept in a [`Cache`](crate::cache::Cache), and made again only when what they are made of changes.

pub mod agent;
pub mod archive;
mod busybox;
mod disk;
mod elf;
mod error;
mod guest;
mod initramfs;
pub mod libraries;
mod overlay;
pub mod sources;
pub mod suite;
mod words;

pub use busybox::Busybox;
pub use disk::{DiskFormat, DiskImage};
pub use error::ImageError;
pub use guest::{GuestImage, GuestImageBuilder};
pub use initramfs::Initramfs;
pub use suite::Suite;
