//! A backend on an image, with guest memory and requests to move it.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::poll::{PollContext, PollToken};

use crate::block::engine::thread_pool::ThreadPool;
use crate::block::engine::uring::Uring;
use crate::block::host::image::{Image, ImageOptions};
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Token};
use crate::block::model::segment::Segment;
use crate::sync::lock;
use crate::thread::ThreadStart;

/// Which backend is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Threads,
    IoUring,
}

impl Kind {
    pub fn start(self, image: Arc<Image>) -> Box<dyn Backend> {
        match self {
            Self::Threads => {
                Box::new(ThreadPool::new(image, "test", &ThreadStart::default()).unwrap())
            }
            Self::IoUring => Box::new(Uring::new(image).expect("this host has no io_uring")),
        }
    }
}

pub struct Bench<I = Arc<Image>> {
    pub backend: Box<dyn Backend>,
    pub image: I,
    pub memory: Arc<GuestMemoryMmap>,
}

/// Bytes of guest memory, in two regions that touch.
pub const MEMORY: u64 = 4 << 20;

impl Bench {
    /// A backend on the image at `path`.
    pub fn new(kind: Kind, path: &Path) -> Self {
        Self::on(kind, Image::open(path, ImageOptions::default()).unwrap())
    }

    pub fn on(kind: Kind, image: Image) -> Self {
        let image = Arc::new(image);
        Self::with(kind.start(Arc::clone(&image)), image)
    }
}

impl<I> Bench<I> {
    /// A backend on what is an image to it.
    pub fn with(backend: Box<dyn Backend>, image: I) -> Self {
        let regions = [(GuestAddress(0), 1 << 20), (GuestAddress(1 << 20), 3 << 20)];
        Self {
            backend,
            image,
            memory: Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap()),
        }
    }

    /// Submits a request for these addresses and lengths, without starting it.
    pub fn submit(&mut self, token: u64, operation: Operation, segments: &[(u64, u32)]) {
        let segments = segments.iter().map(|(address, length)| Segment {
            address: GuestAddress(*address),
            length: *length,
        });
        let request = HostRequest {
            operation,
            buffers: IoBuffers::new(&self.memory, segments).unwrap(),
        };
        self.backend.submit(Token(token), request);
    }

    /// Starts what was submitted and waits until so many requests have ended.
    pub fn wait(&mut self, count: usize) -> BTreeMap<u64, Result<(), Errno>> {
        self.backend.flush_submissions();
        let mut ended = BTreeMap::new();
        while ended.len() < count {
            assert!(
                self.is_readable(Duration::from_secs(20)),
                "only {} of {count} completed",
                ended.len()
            );
            for completion in self.backend.completed() {
                let twice = ended.insert(completion.token.0, completion.result);
                assert!(twice.is_none(), "twice: {completion:?}");
            }
        }
        ended
    }

    /// One request from its submission to its end.
    pub fn perform(&mut self, operation: Operation, segments: &[(u64, u32)]) -> Result<(), Errno> {
        self.submit(u64::MAX, operation, segments);
        self.wait(1)[&u64::MAX]
    }

    pub fn is_readable(&self, timeout: Duration) -> bool {
        #[derive(Clone, Copy)]
        struct Ready;
        impl PollToken for Ready {
            fn as_raw_token(&self) -> u64 {
                0
            }
            fn from_raw_token(_: u64) -> Self {
                Self
            }
        }
        let context = PollContext::new().unwrap();
        let event = self.backend.completion_event();
        context.add(&event.as_raw_fd(), Ready).unwrap();
        let events = context.wait_timeout(timeout).unwrap();
        events.iter_readable().count() > 0
    }

    pub fn put(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    pub fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }
}

pub fn read(offset: u64) -> Operation {
    Operation::Read { offset }
}

pub fn write(offset: u64) -> Operation {
    Operation::Write {
        offset,
        durability: Durability::Cached,
    }
}

/// A test's child has the locks of every test from its fork to its exec. Who starts one, and who
/// counts on locks being gone at once, holds this meanwhile.
pub fn no_other_children() -> MutexGuard<'static, ()> {
    static CHILDREN: Mutex<()> = Mutex::new(());
    lock(&CHILDREN)
}

/// An image of so many bytes.
pub fn file(length: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(length).unwrap();
    file
}
