//! Images to test on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use imago::qcow2::Qcow2;
use imago::storage::StorageCreateOptions;
use imago::{FormatCreateBuilder, Storage};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::block::engine::thread_pool::{Medium, ThreadPool};
use crate::block::format::open_error::OpenError;
use crate::block::format::qcow2::chain::BackingFiles;
use crate::block::format::qcow2::corruption::{Corruption, CorruptionObserver};
use crate::block::format::qcow2::disk::Qcow2Image;
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::ImageOptions;
use crate::block::host::image_error::ImageError;
use crate::block::host::locking::Locking;
use crate::block::model::access::Access;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::Operation;
use crate::block::model::segment::Segment;
use crate::block::tests::bench::{Bench, no_other_children};
use crate::sync::lock;
use crate::thread::ThreadStart;

/// Remembers what was told.
#[derive(Default)]
pub struct Told(pub Mutex<Vec<Corruption>>);

impl CorruptionObserver for Told {
    fn image_corrupted(&self, corruption: &Corruption) {
        lock(&self.0).push(corruption.clone());
    }
}

/// A directory of images.
pub struct Ground(tempfile::TempDir);

impl Ground {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An empty image.
    pub fn image(&self, name: &str, size: u64, cluster_size: usize) -> PathBuf {
        self.overlay(name, size, cluster_size, None)
    }

    /// An image on another, by the other's name and format.
    pub fn overlay(
        &self,
        name: &str,
        size: u64,
        cluster_size: usize,
        backing: Option<(&str, &str)>,
    ) -> PathBuf {
        let path = self.path(name);
        let options = StorageCreateOptions::new().filename(&path).overwrite(true);
        let file = imago::file::File::create_open(options).unwrap();
        let mut builder = Qcow2::<imago::file::File>::create_builder(file)
            .size(size)
            .cluster_size(cluster_size);
        if let Some((name, format)) = backing {
            builder = builder.backing(name.to_owned(), format.to_owned());
        }
        builder.create().unwrap();
        path
    }
}

/// Opens an image without locks, which no other process has open.
pub fn open(path: &Path) -> Result<(Qcow2Image, Arc<Told>), OpenError> {
    open_with(path, UNLOCKED, BackingFiles::Follow)
}

pub const UNLOCKED: ImageOptions = ImageOptions {
    access: Access::ReadWrite,
    locking: Locking::Off,
    cache: CacheMode::Unsafe,
};

/// One request in this thread, with a buffer of so many bytes that `fill` fills.
pub fn perform(
    image: &Qcow2Image,
    operation: Operation,
    length: u32,
    fill: u8,
) -> Result<(), Errno> {
    let regions = [(GuestAddress(0), 4 << 20)];
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&regions).unwrap());
    let bytes = vec![fill; length as usize];
    memory.write_slice(&bytes, GuestAddress(0)).unwrap();
    let address = GuestAddress(0);
    let buffers = IoBuffers::new(&memory, [Segment { address, length }]).unwrap();
    image.execute(HostRequest { operation, buffers })
}

/// All that the first so many bytes of a disk read as.
pub fn read_back(image: &Qcow2Image, length: usize) -> Vec<u8> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap();
    let memory = Arc::new(memory);
    let (mut content, address) = (Vec::new(), GuestAddress(0));
    while content.len() < length {
        let count = (length - content.len()).min(4 << 20);
        let segment = Segment {
            address,
            length: u32::try_from(count).unwrap(),
        };
        let operation = Operation::Read {
            offset: content.len() as u64,
        };
        let buffers = IoBuffers::new(&memory, [segment]).unwrap();
        let request = HostRequest { operation, buffers };
        assert_eq!(image.execute(request), Ok(()));
        let mut bytes = vec![0; count];
        memory.read_slice(&mut bytes, address).unwrap();
        content.extend(bytes);
    }
    content
}

/// Runs qemu-img; false where it is not installed.
pub fn qemu_img(arguments: &[&str]) -> bool {
    let _only = no_other_children();
    let Ok(output) = Command::new("qemu-img").args(arguments).output() else {
        return false;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    true
}

pub fn open_with(
    path: &Path,
    options: ImageOptions,
    backing_files: BackingFiles,
) -> Result<(Qcow2Image, Arc<Told>), OpenError> {
    let told = Arc::new(Told::default());
    let image = Qcow2Image::open(path, options, backing_files, told.clone())?;
    Ok((image, told))
}

fn is_in_use(error: &OpenError) -> bool {
    match error {
        OpenError::Image(ImageError::InUse(_)) => true,
        OpenError::Backing { source, .. } => is_in_use(source),
        _ => false,
    }
}

pub fn bench(path: &Path, options: ImageOptions) -> Bench<Arc<Told>> {
    // Another test's child has this one's locks from its fork to its exec.
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut image, told) = loop {
        match open_with(path, options, BackingFiles::Follow) {
            Err(error) if is_in_use(&error) && Instant::now() < deadline => thread::yield_now(),
            result => break result.unwrap(),
        }
    };
    // As the program does.
    image.take_layers();
    let backend = ThreadPool::new(Arc::new(image), "test", &ThreadStart::default()).unwrap();
    Bench::with(Box::new(backend), told)
}

/// What qemu-img reads from an image, where it is installed.
pub fn as_qemu_reads_it(path: &Path) -> Option<Vec<u8>> {
    let raw = path.with_extension("raw");
    let mut command = Command::new("qemu-img");
    // Another test's child may have the locks still.
    command
        .args(["convert", "-U", "-O", "raw"])
        .arg(path)
        .arg(&raw);
    let _only = no_other_children();
    let status = command.status().ok()?;
    assert!(status.success(), "qemu-img cannot read it");
    std::fs::read(raw).ok()
}

/// Has qemu-img look for errors, where it is installed.
pub fn check(path: &Path) {
    let _only = no_other_children();
    let mut command = Command::new("qemu-img");
    // Another machine of this test may have the locks still.
    let Ok(output) = command.args(["check", "-U"]).arg(path).output() else {
        return;
    };
    // Leaked clusters are 3.
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
