//! Guest images made of what this machine has: an initramfs with its programs, a disk with a file system.
//!
//! ```no_run
//! use faultvisor_harness::cache::Cache;
//! use faultvisor_harness::image::{DiskImage, GuestImage};
//! use faultvisor_harness::kernel::Kernel;
//!
//! # fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::of_user()?;
//! let note = |text: &str| eprintln!("{text}");
//! let kernel = Kernel::package(None, &cache, &note)?;
//! let image = GuestImage::builder(kernel)
//!     .program("sqlite3")
//!     .copy("/srv/test.sql", "test.sql")
//!     .file_system("xfs")
//!     .build(&cache, &note)?;
//! let disk = DiskImage::directory("data").size(256 << 20).cached(&cache, &note)?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here needs root. A missing tool is named with the command that installs it. Files are kept in a
//! [`Cache`](crate::cache::Cache), and made again only when what they are made of changes.

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
