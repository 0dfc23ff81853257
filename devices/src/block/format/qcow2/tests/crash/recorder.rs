//! Writes down what a thread does to files, as the kernel is asked for it.
//!
//! A filter (seccomp(2), `SECCOMP_RET_USER_NOTIF`) stops the thread at each call that changes a
//! file, another thread notes the call and lets it go on. So whatever reaches a file is seen, in its
//! order, whoever in the program sends it. What is not seen (a kind of call that is missing here)
//! makes the file differ from what is written down, which the tests look at.
#![allow(
    unsafe_code,
    reason = "a filter, and memory that another thread has given to the kernel"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, mpsc};
use std::thread;

use libc::{c_int, c_long};

use crate::sync::lock;

/// What is done to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Bytes are written at an offset.
    Write(u64, Vec<u8>),
    /// A range reads as zeroes afterwards; past the end, the file grows if the flag says so.
    Zero {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Whether the file is made as long as that.
        grows: bool,
    },
    /// The file gets this long.
    Length(u64),
    /// What was done before is on the medium when this has ended.
    Sync,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request began; its number.
    Began(usize),
    /// It ended well.
    Ended(usize),
    /// It was refused, and is as if it had not been made.
    Refused(usize),
    /// Something was done to a file, of those that are watched.
    Changed(usize, Change),
}

/// What happened, in order.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<Event>>);

impl Journal {
    pub fn note(&self, event: Event) {
        lock(&self.0).push(event);
    }
}

/// The calls that change a file through a descriptor, and the one that sees to its being kept.
const CALLS: [c_long; 8] = [
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_sync_file_range,
];

/// Performs `work` in a thread, and returns what it does to these files.
pub fn record(files: &[&File], work: impl FnOnce(&Journal) + Send) -> Vec<Event> {
    let watched: Vec<_> = files
        .iter()
        .map(|file| identity(&file.metadata().unwrap()))
        .collect();
    let journal = Journal::default();
    let (send, listener) = mpsc::channel();
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            send.send(install().expect("this host has no notices of seccomp"))
                .unwrap();
            work(&journal);
        });
        // Nothing comes if the other has panicked; its end tells of that.
        if let Ok(listener) = listener.recv() {
            serve(&listener, &watched, &journal);
        }
        if let Err(panic) = working.join() {
            std::panic::resume_unwind(panic);
        }
    });
    journal.0.into_inner().unwrap()
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Has this thread stopped at each of the calls.
fn install() -> io::Result<OwnedFd> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k,
    };
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (index, call) in CALLS.iter().enumerate() {
        filter.push(libc::sock_filter {
            jt: u8::try_from(CALLS.len() - index).unwrap(),
            ..statement(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                u32::try_from(*call).unwrap(),
            )
        });
    }
    let result = libc::BPF_RET | libc::BPF_K;
    filter.push(statement(result, libc::SECCOMP_RET_ALLOW));
    filter.push(statement(result, libc::SECCOMP_RET_USER_NOTIF));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: it takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the program and its statements are valid for the call.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let listener = check(c_int::try_from(listener).unwrap())?;
    // SAFETY: the call has made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

fn check(result: c_int) -> io::Result<c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Notes each call and lets it go on, until no thread has the filter any more.
fn serve(listener: &OwnedFd, watched: &[(u64, u64)], journal: &Journal) {
    loop {
        let mut poll = libc::pollfd {
            fd: listener.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the structure is valid for the call.
        if check(unsafe { libc::poll(&raw mut poll, 1, -1) }).is_err() {
            continue;
        }
        if poll.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: every field of the structure is an integer, for which zero is a value.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is valid for the call.
        let received = unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut notice,
            )
        };
        if check(received).is_err() {
            continue;
        }
        note(&notice.data, watched, journal);
        let mut response = libc::seccomp_notif_resp {
            id: notice.id,
            val: 0,
            error: 0,
            flags: u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap(),
        };
        // SAFETY: the structure is valid for the call.
        unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut response,
            );
        }
    }
}

fn note(data: &libc::seccomp_data, watched: &[(u64, u64)], journal: &Journal) {
    let descriptor = c_int::try_from(data.args[0]).unwrap_or(-1);
    if descriptor < 0 {
        return;
    }
    // SAFETY: who makes the call has it open, and is stopped.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let Ok(file) = borrowed.try_clone_to_owned().map(File::from) else {
        return;
    };
    let Some(file) = file
        .metadata()
        .ok()
        .and_then(|metadata| watched.iter().position(|w| *w == identity(&metadata)))
    else {
        return;
    };
    for change in changes(data) {
        journal.note(Event::Changed(file, change));
    }
}

/// What a call does.
fn changes(data: &libc::seccomp_data) -> Vec<Change> {
    let args = data.args;
    let number = |value: u64| usize::try_from(value).unwrap();
    match c_long::from(data.nr) {
        libc::SYS_pwrite64 => vec![Change::Write(args[3], bytes(args[1], number(args[2])))],
        // With a flag, the second one keeps what it writes; it counts as if it did not.
        libc::SYS_pwritev | libc::SYS_pwritev2 => {
            let pointer = std::ptr::with_exposed_provenance::<libc::iovec>(number(args[1]));
            // SAFETY: who makes the call has them valid for it, and is stopped.
            let pieces = unsafe { std::slice::from_raw_parts(pointer, number(args[2])) };
            let all = pieces
                .iter()
                .flat_map(|piece| bytes(piece.iov_base.expose_provenance() as u64, piece.iov_len))
                .collect();
            vec![Change::Write(args[3], all)]
        }

        libc::SYS_fallocate => {
            let mode = c_int::try_from(args[1]).unwrap();
            let zeroes = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
            let grows = mode & libc::FALLOC_FL_KEEP_SIZE == 0;
            match (mode & zeroes, grows) {
                (0, false) => Vec::new(),
                (0, true) => vec![Change::Zero {
                    offset: args[2] + args[3],
                    length: 0,
                    grows,
                }],
                _ => vec![Change::Zero {
                    offset: args[2],
                    length: args[3],
                    grows,
                }],
            }
        }
        libc::SYS_ftruncate => vec![Change::Length(args[1])],
        libc::SYS_fdatasync | libc::SYS_fsync => vec![Change::Sync],
        // It promises nothing of the file's length.
        _ => Vec::new(),
    }
}

/// Memory of the thread that has stopped.
fn bytes(address: u64, length: usize) -> Vec<u8> {
    let address = usize::try_from(address).unwrap();
    let pointer = std::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: who makes the call has them valid for it, and is stopped.
    unsafe { std::slice::from_raw_parts(pointer, length) }.to_vec()
}
