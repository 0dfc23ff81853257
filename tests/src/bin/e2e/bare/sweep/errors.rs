//! The errors of each system call, by its manual page, as far as a shortage of resources causes them.

use nix::errno::Errno::{self, EAGAIN, ECONNRESET, EINTR, EIO, EMFILE, ENOLCK, ENOMEM, ENOSPC};
use syscalls::Sysno;

use super::tracer::{Object, Observed, Phase, Place};

/// Calls that a thread repeats from one place: only the first of each fail.
const REPEATED: u32 = 4;

/// `F_SETLK`.
const F_SETLK: u64 = 6;

/// `KVM_RUN`.
const KVM_RUN: u64 = 0xae80;

/// The errors to try on a call of a run: none for a call that cannot fail, or whose failure nothing could survive.
pub fn of(call: &Observed) -> Vec<Errno> {
    let place = &call.place;
    let is_repeated = match place.kind.call {
        Sysno::ioctl => place.kind.request == KVM_RUN,
        Sysno::read
        | Sysno::write
        | Sysno::epoll_wait
        | Sysno::epoll_pwait
        | Sysno::io_uring_enter
        | Sysno::poll
        | Sysno::ppoll
        | Sysno::madvise
        | Sysno::sched_yield => true,
        _ => false,
    };
    if is_repeated && place.nth >= REPEATED {
        return Vec::new();
    }
    // An eventfd's counter never overflows here.
    let is_full = call.descriptor.object != Object::Kernel || place.kind.call == Sysno::read;
    let would_block = (call.descriptor.is_nonblocking && is_full).then_some(EAGAIN);
    let errors: &[Errno] = match place.kind.call {
        Sysno::open | Sysno::openat => &[EMFILE, ENOMEM, EINTR, EIO],
        Sysno::creat => &[EMFILE, ENOSPC, EIO],
        Sysno::read | Sysno::readv | Sysno::pread64 | Sysno::preadv | Sysno::preadv2 => {
            match call.descriptor.object {
                Object::File => &[EIO],
                Object::Socket => &[EINTR, ECONNRESET],
                Object::Pipe | Object::Kernel => &[EINTR],
            }
        }
        Sysno::write | Sysno::writev | Sysno::pwrite64 | Sysno::pwritev | Sysno::pwritev2 => {
            match call.descriptor.object {
                Object::File => &[EIO, ENOSPC],
                Object::Socket => &[EINTR, ECONNRESET],
                Object::Pipe | Object::Kernel => &[EINTR],
            }
        }
        Sysno::sendto | Sysno::sendmsg | Sysno::recvfrom | Sysno::recvmsg => {
            &[EINTR, ENOMEM, ECONNRESET]
        }
        Sysno::socket
        | Sysno::socketpair
        | Sysno::accept
        | Sysno::accept4
        | Sysno::eventfd2
        | Sysno::epoll_create1
        | Sysno::timerfd_create
        | Sysno::signalfd4
        | Sysno::inotify_init1
        | Sysno::pidfd_open
        | Sysno::memfd_create
        | Sysno::pipe2
        | Sysno::io_uring_setup => &[EMFILE, ENOMEM],
        Sysno::dup | Sysno::dup2 | Sysno::dup3 => &[EMFILE],
        Sysno::fcntl if place.kind.request == F_SETLK => &[ENOLCK],
        Sysno::fcntl => &[EMFILE],
        Sysno::bind | Sysno::connect => &[ENOMEM],
        Sysno::clone | Sysno::clone3 => &[EAGAIN, ENOMEM],
        Sysno::ioctl if place.kind.request == KVM_RUN => &[EINTR, EAGAIN, ENOMEM],
        Sysno::ioctl => &[ENOMEM, EMFILE],
        Sysno::epoll_ctl | Sysno::seccomp => &[ENOMEM],
        Sysno::landlock_create_ruleset => &[EMFILE, ENOMEM],
        Sysno::landlock_add_rule | Sysno::landlock_restrict_self => &[ENOMEM],
        Sysno::epoll_wait | Sysno::epoll_pwait | Sysno::nanosleep | Sysno::clock_nanosleep => {
            &[EINTR]
        }
        Sysno::poll | Sysno::ppoll => &[EINTR, ENOMEM],
        Sysno::mmap | Sysno::mremap | Sysno::mprotect => &[ENOMEM, EAGAIN],
        Sysno::madvise => &[ENOMEM, EAGAIN],
        Sysno::fsync | Sysno::fdatasync | Sysno::ftruncate => &[EIO, EINTR, ENOSPC],
        Sysno::fallocate => &[ENOSPC, EINTR, EIO],
        Sysno::fstat | Sysno::stat | Sysno::lstat | Sysno::newfstatat | Sysno::statx => &[ENOMEM],
        Sysno::getdents64 | Sysno::readlink | Sysno::readlinkat => &[ENOMEM, EIO],
        Sysno::unlink
        | Sysno::unlinkat
        | Sysno::rename
        | Sysno::mkdir
        | Sysno::chmod
        | Sysno::fchmod => &[EIO, ENOMEM],
        Sysno::io_uring_enter => &[EINTR, EAGAIN, ENOMEM],
        Sysno::io_uring_register => &[ENOMEM],
        _ => &[],
    };
    let blocks = matches!(
        place.kind.call,
        Sysno::read
            | Sysno::write
            | Sysno::readv
            | Sysno::writev
            | Sysno::recvfrom
            | Sysno::sendto
            | Sysno::accept4
    );
    let mut errors = errors.to_vec();
    errors.extend(would_block.filter(|_| blocks));
    errors
}

/// Whether a call is one of a thread's first, made by the standard library, which panics if it gets no signal stack.
pub fn is_the_runtimes(call: &Observed) -> bool {
    call.place.thread == "new"
}

/// Whether files may stay behind when this call fails: the call looks for or removes them, or without it a thread
/// cannot be confined, and the program ends at once. The next start finds them stale.
pub fn may_leave_files(place: &Place) -> bool {
    match place.kind.call {
        Sysno::unlink | Sysno::unlinkat => true,
        Sysno::statx | Sysno::lstat | Sysno::newfstatat => place.phase == Phase::End,
        Sysno::seccomp | Sysno::landlock_restrict_self | Sysno::fcntl => place.thread != "main",
        _ => false,
    }
}
