//! A backend that hands requests to the kernel in batches, through io_uring(7).
//!
//! The kernel accesses guest memory until it posts the completion. The `Progress` that holds this
//! memory stays in its slot until then, also when the disk is dropped.
#![expect(
    unsafe_code,
    reason = "the ring takes addresses that must stay valid until it gives them back"
)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::register::Restriction;
use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{IoUring, Probe, Submitter, opcode, squeue};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::step::{Allocation, IoStep, Progress, Way};
use crate::block::host::image::Image;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, Completion, Token};

/// Requests of one disk in flight in the kernel. More of them wait in a queue that the submitter
/// bounds: a disk's virtqueue has 256 entries.
const DEPTH: usize = 128;

/// Index of the image among the ring's registered files.
const IMAGE: Fixed = Fixed(0);

/// Index of the image opened through the page cache, which may be the same file.
const CACHED: Fixed = Fixed(1);

/// `IORING_ENTER_GETEVENTS`: wait for completions.
const GET_EVENTS: u32 = 1;

/// The operations used, and the only ones that the ring permits.
const OPERATIONS: [u8; 6] = [
    opcode::Read::CODE,
    opcode::Readv::CODE,
    opcode::Write::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::Fallocate::CODE,
];

/// Requests on a raw image, through a ring.
pub struct Uring {
    ring: IoUring,
    image: Arc<Image>,
    /// Written by the kernel for each completion, and by the backend for requests that end without
    /// one.
    done: EventFd,
    /// Requests that are in the kernel or staged for it.
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// Slots in the submission queue that the kernel has not consumed.
    staged: VecDeque<usize>,
    waiting: VecDeque<(Token, HostRequest)>,
    finished: Vec<Completion>,
    /// The result of the last [`Self::reap`]: the allocation is reused.
    reaped: Vec<(usize, i32)>,
    /// Why the kernel accepts no more submissions.
    broken: Option<Errno>,
}

struct Slot {
    token: Token,
    progress: Progress,
}

impl Uring {
    /// A ring for one image.
    ///
    /// # Errors
    ///
    /// When the kernel lacks io_uring or a feature that is needed, or does not permit it.
    pub fn new(image: Arc<Image>) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        let ring = builder.setup_r_disabled();
        let ring = ring.build(u32::try_from(DEPTH).unwrap_or(u32::MAX))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !OPERATIONS.into_iter().all(|code| probe.is_supported(code)) {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        // Without SUBMIT_STABLE the kernel would read iovecs after the submission.
        if !ring.params().is_feature_submit_stable() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        let done = EventFd::new(EFD_NONBLOCK)?;
        let files = [image.file(), image.cached_file()].map(AsRawFd::as_raw_fd);
        ring.submitter().register_files(&files)?;
        ring.submitter().register_eventfd(done.as_raw_fd())?;
        restrict(&ring.submitter())?;
        Ok(Self {
            ring,
            image,
            done,
            slots: (0..DEPTH).map(|_| None).collect(),
            free: (0..DEPTH).rev().collect(),
            staged: VecDeque::new(),
            waiting: VecDeque::new(),
            finished: Vec::new(),
            reaped: Vec::new(),
            broken: None,
        })
    }

    /// Puts a new request into a slot, or completes it at once.
    fn begin(&mut self, index: usize, token: Token, request: HostRequest) {
        let progress = Progress::new(request);
        self.slots[index] = Some(Slot { token, progress });
        self.stage(index);
    }

    /// Queues the next step of a slot's request, or completes it and frees the slot.
    fn stage(&mut self, index: usize) {
        let Some(slot) = &mut self.slots[index] else {
            return;
        };
        let step = match self.broken {
            Some(errno) => IoStep::Done(Err(errno)),
            None => slot.progress.step(&self.image),
        };
        let result = match entry(&step) {
            Ok(entry) => {
                let entry = entry.user_data(index as u64);
                // SAFETY: the entry points to memory that this slot's progress holds, or to the
                // progress' list of iovecs. The slot does not move, as `slots` never grows, and
                // its progress neither changes the list nor gives anything up before the kernel
                // has said that the step has ended. The image's file is registered with the ring.
                if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                    self.staged.push_back(index);
                    return;
                }
                // Unreachable: the queue has an entry for each slot.
                Err(Errno::EIO)
            }
            Err(result) => result,
        };
        self.finish(index, result);
    }

    fn finish(&mut self, index: usize, result: Result<(), Errno>) {
        if let Some(Slot { token, .. }) = self.slots[index].take() {
            self.free.push(index);
            self.finished.push(Completion { token, result });
        }
    }

    /// Moves waiting requests into free slots.
    fn fill(&mut self) {
        while !self.waiting.is_empty()
            && let Some(index) = self.free.pop()
            && let Some((token, request)) = self.waiting.pop_front()
        {
            self.begin(index, token, request);
        }
    }

    /// Submits the submission queue to the kernel.
    fn enter(&mut self) {
        while !self.staged.is_empty() {
            match self.ring.submit() {
                Ok(0) => return self.enter_later(),
                Ok(taken) => drop(self.staged.drain(..taken.min(self.staged.len()))),
                Err(error) => match Errno::of(&error) {
                    Errno(libc::EINTR) => {}
                    Errno(libc::EAGAIN | libc::EBUSY) => return self.enter_later(),
                    errno => return self.fail(errno),
                },
            }
        }
    }

    /// The kernel lacks resources at the moment. The next completion retries, or, if none is due,
    /// the next iteration of the disk's loop.
    fn enter_later(&self) {
        if self.staged.len() + self.free.len() == DEPTH {
            let _ = self.done.write(1);
        }
    }

    /// The kernel accepts no more. The ring is not entered again, so that requests that it has not
    /// consumed can end.
    fn fail(&mut self, errno: Errno) {
        tracing::error!("{}: io_uring: {errno}", self.image.path().display());
        self.broken = Some(errno);
        for index in std::mem::take(&mut self.staged) {
            self.finish(index, Err(errno));
        }
        self.fill();
    }

    /// Takes completions: slots, each with what the system call would have returned.
    fn reap(&mut self) {
        self.reaped.clear();
        for entry in self.ring.completion() {
            let index = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            self.reaped.push((index, entry.result()));
        }
    }

    /// Takes completions, and continues requests of which a step has ended.
    fn harvest(&mut self) -> Vec<Completion> {
        self.reap();
        for at in 0..self.reaped.len() {
            let (index, returned) = self.reaped[at];
            let Some(Some(slot)) = self.slots.get_mut(index) else {
                tracing::error!("io_uring completed what it was not asked for");
                continue;
            };
            let result = usize::try_from(returned).map_err(|_| Errno(-returned));
            slot.progress.ended(&self.image, result);
            self.stage(index);
        }
        self.fill();
        self.enter();
        std::mem::take(&mut self.finished)
    }

    /// Signals the completion event: a request ended without the kernel.
    fn ring_bell(&self) {
        if !self.finished.is_empty() {
            let _ = self.done.write(1);
        }
    }
}

/// Restricts the ring to these operations on the registered files. Seccomp filters do not see what a ring does, which
/// could open files and create sockets otherwise. Since Linux 5.10.
fn restrict(ring: &Submitter<'_>) -> io::Result<()> {
    let registered = Restriction::sqe_flags_required(squeue::Flags::FIXED_FILE.bits());
    let operations = OPERATIONS.into_iter().map(Restriction::sqe_op);
    let mut restrictions: Vec<_> = operations.chain([registered]).collect();
    ring.register_restrictions(&mut restrictions)?;
    ring.register_enable_rings()
}

/// The submission entry of a step, or the result of a request that has ended.
fn entry(step: &IoStep<'_>) -> Result<squeue::Entry, Result<(), Errno>> {
    let file = |way| match way {
        Way::Plain => IMAGE,
        Way::Cached => CACHED,
    };
    match *step {
        IoStep::Read(transfer) => {
            let (file, place) = (file(transfer.way), transfer.place.cast_unsigned());
            Ok(match transfer.buffers.single() {
                Some((start, length)) => {
                    opcode::Read::new(file, start, length).offset(place).build()
                }
                None => {
                    let (pieces, count) = transfer.buffers.pieces();
                    opcode::Readv::new(file, pieces, clamp(count))
                        .offset(place)
                        .build()
                }
            })
        }
        IoStep::Write(transfer, flags) => {
            let (file, place) = (file(transfer.way), transfer.place.cast_unsigned());
            Ok(match transfer.buffers.single() {
                Some((start, length)) => opcode::Write::new(file, start, length)
                    .offset(place)
                    .rw_flags(flags)
                    .build(),
                None => {
                    let (pieces, count) = transfer.buffers.pieces();
                    opcode::Writev::new(file, pieces, clamp(count))
                        .offset(place)
                        .rw_flags(flags)
                        .build()
                }
            })
        }
        IoStep::Sync => Ok(opcode::Fsync::new(IMAGE)
            .flags(FsyncFlags::DATASYNC)
            .build()),
        IoStep::Allocate(Allocation { mode, range }) => {
            Ok(opcode::Fallocate::new(IMAGE, range.length)
                .offset(range.offset)
                .mode(mode)
                .build())
        }
        IoStep::Done(result) => Err(result),
    }
}

/// A number of iovecs, which is far below the limit of the type.
fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Backend for Uring {
    fn submit(&mut self, token: Token, request: HostRequest) {
        // In order: no request overtakes one that waits.
        if self.waiting.is_empty()
            && let Some(index) = self.free.pop()
        {
            self.begin(index, token, request);
        } else {
            self.waiting.push_back((token, request));
        }
    }

    fn flush_submissions(&mut self) {
        self.enter();
        self.ring_bell();
    }

    fn completed(&mut self) -> Vec<Completion> {
        // Cleared first: a later completion makes it readable again.
        let _ = self.done.read();
        self.harvest()
    }

    fn poll(&mut self) -> Vec<Completion> {
        if self.finished.is_empty() && self.ring.completion().is_empty() {
            return Vec::new();
        }
        self.harvest()
    }

    fn length(&self) -> u64 {
        self.image.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.image.capabilities()
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        self.image.resize(length)
    }

    fn completion_event(&self) -> &EventFd {
        &self.done
    }
}

/// Waits for the kernel to be done with guest memory.
impl Drop for Uring {
    fn drop(&mut self) {
        // The kernel has not consumed these, and will not.
        for index in std::mem::take(&mut self.staged) {
            self.slots[index] = None;
        }
        while self.slots.iter().any(Option::is_some) {
            self.reap();
            for (index, _) in &self.reaped {
                if let Some(slot) = self.slots.get_mut(*index) {
                    *slot = None;
                }
            }
            if self.slots.iter().all(Option::is_none) {
                return;
            }
            // SAFETY: nothing is submitted, and no argument is passed.
            let waited = unsafe {
                self.ring
                    .submitter()
                    .enter::<libc::sigset_t>(0, 1, GET_EVENTS, None)
            };
            if let Err(error) = waited {
                let errno = Errno::of(&error);
                if !matches!(errno, Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) {
                    tracing::error!("io_uring: {errno}; memory of its requests is kept for ever");
                    std::mem::forget(std::mem::take(&mut self.slots));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use io_uring::types::Fd;

    use super::*;
    use crate::block::host::image::ImageOptions;
    use crate::block::tests::bench::file;

    /// The result of an entry that is pushed to the ring directly.
    fn ask(ring: &mut Uring, entry: &squeue::Entry) -> i32 {
        // SAFETY: the entry points to memory that lives until its completion is posted.
        unsafe { ring.ring.submission().push(entry) }.unwrap();
        ring.ring.submit_and_wait(1).unwrap();
        ring.ring.completion().next().unwrap().result()
    }

    #[test]
    fn a_ring_opens_no_file_makes_no_socket_and_reads_no_file_but_the_image() {
        let image = file(4096);
        let opened = Image::open(image.path(), ImageOptions::default()).unwrap();
        let mut ring = Uring::new(Arc::new(opened)).unwrap();
        let mut bytes = [0; 8];
        let (start, length) = (bytes.as_mut_ptr(), 8);
        // The image can be read, so that the refusals have another cause.
        let own = opcode::Read::new(IMAGE, start, length).build();
        assert_eq!(ask(&mut ring, &own), 8);
        let other = File::open("/dev/zero").unwrap();
        let refused = [
            opcode::OpenAt::new(Fd(libc::AT_FDCWD), c"/dev/zero".as_ptr()).build(),
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
            opcode::Read::new(Fd(other.as_raw_fd()), start, length).build(),
        ];
        for entry in refused {
            assert_eq!(ask(&mut ring, &entry), -libc::EACCES, "{entry:?}");
        }
        let registered = ring.ring.submitter().unregister_files();
        assert_eq!(registered.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
}
