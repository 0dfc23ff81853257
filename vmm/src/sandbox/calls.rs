//! The system calls that a thread of each kind may make.
//!
//! No list has these, so that no thread may make them: opening files, creating and connecting sockets, executing
//! programs, creating processes, debugging, mounting, namespaces, loading code, executable memory, creating and
//! changing rings of io_uring. One thread is an exception: that of a vsock device creates and connects unix sockets.

use seccompiler::BackendError;

use super::kind::Kind;
use super::kvm;
use super::landlock::Removable;
use super::rules::Calls;
use super::rules::Check::{Int, IntBits, WordBits};

/// `PR_SET_VMA`: the C library names its memory if it is configured to.
const PR_SET_VMA: i32 = 0x5356_4d41;

/// Every thread's: computing, waiting, memory, I/O on what is open, and the end, also by a panic or a fatal signal.
const COMMON: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_close,
    libc::SYS_futex,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    // Where the clock source cannot be read without the kernel.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // A kick of a vCPU, the handler of a fatal signal, abort(3).
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // A thread's first calls, under the filter of its starter.
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sched_getaffinity,
];

/// I/O on an open file.
const FILES: &[i64] = &[
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
];

/// An epoll loop, which a thread makes for itself, with its timers.
const LOOP: &[i64] = &[
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
];

/// Copying of standard input and output, in the kernel where it can.
const COPYING: &[i64] = &[
    libc::SYS_splice,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_shutdown,
];

/// A client's socket, beside the loop.
const CLIENTS: &[i64] = &[libc::SYS_accept4, libc::SYS_shutdown];

/// Removing a socket's file if it is still the one that was made. Where the kernel has Landlock, only in the
/// directories of those on the command line.
const REMOVING: &[i64] = &[
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
];

/// Requests on block devices: size, block size, discard, zero.
const BLOCK_DEVICES: [u64; 4] = [
    0x8008_1272, // BLKGETSIZE64
    0x1268,      // BLKSSZGET
    0x1277,      // BLKDISCARD
    0x127f,      // BLKZEROOUT
];

/// The calls of a kind of thread.
pub(super) fn of(kind: Kind, removable: &Removable) -> Result<Calls, BackendError> {
    let mut calls = Calls::default();
    if matches!(kind, Kind::Vcpu | Kind::Main) {
        // First of the ioctls, so that the filter finds KVM_RUN first.
        vcpu(&mut calls)?;
    }
    common(&mut calls)?;
    match kind {
        Kind::Main => {
            main(&mut calls)?;
            if !removable.main.is_empty() {
                calls.allow(REMOVING);
            }
        }
        Kind::Monitor => {
            calls.allow(LOOP);
            clients(&mut calls)?;
            if !removable.monitor.is_empty() {
                calls.allow(REMOVING);
            }
        }
        Kind::Stdio => {
            calls.allow(COPYING);
            calls.allow(&[libc::SYS_poll, libc::SYS_ppoll]);
            metadata(&mut calls)?;
        }
        Kind::Disk => {
            calls.allow(LOOP);
            // The ring accepts only what it was restricted to at its creation.
            calls.allow(&[libc::SYS_io_uring_enter]);
            disk_io(&mut calls)?;
            starting_threads(&mut calls)?;
        }
        Kind::DiskIo => disk_io(&mut calls)?,
        Kind::Rng => calls.allow(LOOP),
        Kind::Vsock => {
            calls.allow(LOOP);
            calls.allow(CLIENTS);
            connecting(&mut calls)?;
        }
        // Waits for descriptors that others have made non-blocking.
        Kind::Console | Kind::Log => calls.allow(&[libc::SYS_poll, libc::SYS_ppoll]),
        Kind::Vcpu => {}
    }
    Ok(calls)
}

fn common(calls: &mut Calls) -> Result<(), BackendError> {
    calls.allow(COMMON);
    terminal(calls)?;
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.allow_if(call, &[WordBits(2, executable, 0)])?;
    }
    // To threads of this process: kicks of vCPUs, raise(3).
    calls.allow_if(libc::SYS_tgkill, &[Int(0, std::process::id().into())])?;
    // A signal handler writes to a connected socket; no call names a destination.
    calls.allow_if(libc::SYS_sendto, &[WordBits(4, u64::MAX, 0)])?;
    // The end after a refused call limits the wait for a reader of standard error.
    calls.allow_if(libc::SYS_setitimer, &[int(0, libc::ITIMER_REAL)])?;
    for option in [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_SET_NO_NEW_PRIVS,
        PR_SET_VMA,
    ] {
        calls.allow_if(libc::SYS_prctl, &[int(0, option)])?;
    }
    for command in [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_DUPFD_CLOEXEC,
    ] {
        calls.allow_if(libc::SYS_fcntl, &[int(1, command)])?;
    }
    Ok(())
}

/// Restores the terminal, in whichever thread ends the program.
fn terminal(calls: &mut Calls) -> Result<(), BackendError> {
    for request in [libc::TCSETS, libc::TCSETS2, libc::TCGETS, libc::TCGETS2] {
        calls.allow_if(libc::SYS_ioctl, &[Int(1, request)])?;
    }
    Ok(())
}

/// The metadata of an open file, by the two calls that also take a path, with an empty path.
fn metadata(calls: &mut Calls) -> Result<(), BackendError> {
    let empty = u64::from(libc::AT_EMPTY_PATH.cast_unsigned());
    calls.allow_if(libc::SYS_statx, &[IntBits(2, empty, empty)])?;
    calls.allow_if(libc::SYS_newfstatat, &[IntBits(3, empty, empty)])
}

fn vcpu(calls: &mut Calls) -> Result<(), BackendError> {
    for request in kvm::OF_VCPU {
        calls.allow_if(libc::SYS_ioctl, &[IntBits(1, 0xffff, request)])?;
    }
    Ok(())
}

fn main(calls: &mut Calls) -> Result<(), BackendError> {
    for request in kvm::OF_MACHINE {
        calls.allow_if(libc::SYS_ioctl, &[IntBits(1, 0xffff, request)])?;
    }
    calls.allow(LOOP);
    // A reset reads the kernel and the initrd again.
    calls.allow(FILES);
    clients(calls)?;
    metadata(calls)?;
    starting_threads(calls)
}

fn clients(calls: &mut Calls) -> Result<(), BackendError> {
    calls.allow(CLIENTS);
    calls.allow(&[libc::SYS_eventfd2]);
    calls.allow_if(libc::SYS_ioctl, &[Int(1, libc::FIONBIO)])?;
    calls.allow_if(
        libc::SYS_setsockopt,
        &[int(1, libc::IPPROTO_TCP), int(2, libc::TCP_NODELAY)],
    )
}

/// Connecting to a listener on a unix socket. No filter sees its path; Landlock denies abstract addresses.
fn connecting(calls: &mut Calls) -> Result<(), BackendError> {
    let stream = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let unix = [int(0, libc::AF_UNIX), int(1, stream), int(2, 0)];
    calls.allow_if(libc::SYS_socket, &unix)?;
    calls.allow(&[libc::SYS_connect]);
    Ok(())
}

fn disk_io(calls: &mut Calls) -> Result<(), BackendError> {
    calls.allow(FILES);
    metadata(calls)?;
    for request in BLOCK_DEVICES {
        calls.allow_if(libc::SYS_ioctl, &[Int(1, request)])?;
    }
    Ok(())
}

/// Starting threads, not processes or namespaces; and the calls by which a new thread confines itself.
fn starting_threads(calls: &mut Calls) -> Result<(), BackendError> {
    let thread = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let bits = |flags: i32| u64::from(flags.cast_unsigned());
    calls.allow_if(
        libc::SYS_clone,
        &[WordBits(0, bits(thread | namespaces), bits(thread))],
    )?;
    // The C library tries it first, and receives ENOSYS.
    calls.allow(&[libc::SYS_clone3, libc::SYS_landlock_restrict_self]);
    let no_flags = WordBits(1, u64::MAX, 0);
    let set_filter = Int(0, libc::SECCOMP_SET_MODE_FILTER.into());
    calls.allow_if(libc::SYS_seccomp, &[set_filter, no_flags])
}

fn int(place: u8, value: i32) -> super::rules::Check {
    Int(place, value.cast_unsigned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(kind: Kind) -> Calls {
        let removable = Removable {
            main: vec!["/run/pid".into()],
            monitor: vec!["/run/qmp".into()],
        };
        of(kind, &removable).unwrap()
    }

    #[test]
    fn a_starting_thread_may_do_what_the_started_one_may() {
        assert!(calls(Kind::Vcpu).beyond(&calls(Kind::Main)).is_empty());
        assert!(calls(Kind::DiskIo).beyond(&calls(Kind::Disk)).is_empty());
        // The comparison can tell a difference.
        assert!(!calls(Kind::Main).beyond(&calls(Kind::Vcpu)).is_empty());
    }

    #[test]
    fn no_thread_may_open_connect_execute_debug_or_make_a_ring() {
        let refused = [
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_creat,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_sendmsg,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_register,
            libc::SYS_memfd_create,
            libc::SYS_pkey_mprotect,
        ];
        // The connections of a guest to the host are its purpose.
        let of_vsock = [libc::SYS_socket, libc::SYS_connect];
        for kind in Kind::ALL {
            let calls = calls(kind);
            for call in refused {
                let is_its_own = kind == Kind::Vsock && of_vsock.contains(&call);
                assert_eq!(calls.has(call), is_its_own, "{kind:?}: {call}");
            }
        }
    }

    #[test]
    fn a_vsock_device_may_make_unix_sockets_only() {
        let mut only_unix = Calls::default();
        let any = [int(0, libc::AF_UNIX)];
        only_unix.allow_if(libc::SYS_socket, &any).unwrap();
        assert!(
            calls(Kind::Vsock)
                .beyond(&only_unix)
                .contains(&libc::SYS_socket)
        );
        let stream = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let exact = [int(0, libc::AF_UNIX), int(1, stream), int(2, 0)];
        only_unix = Calls::default();
        only_unix.allow_if(libc::SYS_socket, &exact).unwrap();
        assert!(
            !calls(Kind::Vsock)
                .beyond(&only_unix)
                .contains(&libc::SYS_socket)
        );
    }

    #[test]
    fn files_are_removed_only_by_who_has_made_one() {
        let none = Removable::default();
        for kind in Kind::ALL {
            let without = of(kind, &none).unwrap();
            assert!(!without.has(libc::SYS_unlink), "{kind:?}");
            let makes_one = matches!(kind, Kind::Main | Kind::Monitor);
            assert_eq!(calls(kind).has(libc::SYS_unlink), makes_one, "{kind:?}");
        }
    }
}
