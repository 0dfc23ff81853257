//! An attacker who has taken over one of the program's threads can do only what that thread does.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, threads};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::image;
use super::injection::{self, Argument, Call, Outcome};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_disks_thread_opens_no_file,
    a_disks_thread_makes_no_socket,
    a_disks_thread_executes_debugs_and_signals_nobody,
    a_disks_thread_makes_no_ring,
    a_disks_io_thread_opens_no_file,
    other_threads_open_no_file_either,
    the_thread_of_vsock_makes_unix_sockets_and_nothing_else,
    calls_with_a_fallback_fail_without_a_message,
    without_the_sandbox_a_threads_calls_are_its_own,
    every_thread_is_confined_also_after_a_reset,
    no_open_descriptor_is_inheritable,
    memory_of_the_guest_is_in_no_core_dump,
    an_allocation_that_fails_is_not_taken_for_a_refused_call,
];

/// The program's exit status after a refused call.
const STATUS: i32 = 159;

/// A machine that waits before its guest's first instruction, with a disk of that kind.
fn waiting(
    context: &Context,
    name: &str,
    sandbox: &str,
    disk: &str,
) -> Result<BareMachine, Failure> {
    let path = image(context, name, 1, 64)?;
    let plan = Plan::new(context, "setup 0\nread 0 0 8\nchoose\nexit off")?;
    let plan = plan.disk(&path, &format!("id=d0,{disk}"));
    let machine = plan.options(&["-S", "--sandbox", sandbox]).start()?;
    // A machine that answers has opened everything.
    machine.client()?.query_status()?;
    Ok(machine)
}

fn path_argument(path: &Path) -> Argument {
    let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
    bytes.push(0);
    Argument::Bytes(bytes)
}

fn number(value: i64) -> Argument {
    Argument::Number(value)
}

fn call(name: &'static str, number: u64, arguments: &[Argument]) -> Call {
    Call {
        name,
        number,
        arguments: arguments.to_vec(),
    }
}

/// `openat` of an existing file for reading: no flags.
fn open(path: &Path) -> Call {
    call(
        "openat",
        257,
        &[number(-100), path_argument(path), number(0)],
    )
}

/// `openat` with `O_WRONLY | O_CREAT`.
fn create(path: &Path) -> Call {
    let flags = 0o101;
    call(
        "openat",
        257,
        &[
            number(-100),
            path_argument(path),
            number(flags),
            number(0o600),
        ],
    )
}

/// Has a thread make a call, each time in another program, and checks that it is refused by name.
fn check_refused(context: &Context, thread: &str, disk: &str, call: &Call) -> Result<(), Failure> {
    let mut machine = waiting(context, "disk", "on", disk)?;
    let tid = injection::thread(machine.machine.id(), thread)?;
    let outcome = injection::perform(machine.machine.id(), tid, call)?;
    check!(
        outcome == Outcome::Refused,
        "{thread}: {call:?}: {outcome:?}"
    );
    machine.machine.expect_exit(STATUS, SOON)?;
    let said = machine
        .machine
        .messages()
        .wait_for_end(machine.machine.started() + SOON);
    let said = said.map_err(|_| Failure::new("the messages do not end"))?;
    let expected = format!(
        "faultvisor: the sandbox refuses thread '{thread}' the system call {} ({})",
        call.name, call.number
    );
    check!(
        said.starts_with(&expected),
        "'{said}' does not begin with '{expected}'"
    );
    check_eq!(said.lines().count(), 1);
    Ok(())
}

fn a_disks_thread_opens_no_file(context: &Context) -> Result<(), Failure> {
    let made = context.path("made");
    let there = context.path("there");
    fs::write(&there, "secret")?;
    for call in [open(&there), create(&made)] {
        check_refused(context, "disk-d0", "", &call)?;
    }
    check!(!made.exists(), "the file was made");
    Ok(())
}

fn a_disks_thread_makes_no_socket(context: &Context) -> Result<(), Failure> {
    let (unix, internet, stream) = (number(1), number(2), number(1));
    let calls = [
        call("socket", 41, &[internet, stream.clone(), number(0)]),
        call("socket", 41, &[unix.clone(), stream.clone(), number(0)]),
        call(
            "socketpair",
            53,
            &[unix, stream, number(0), Argument::Bytes(vec![0; 8])],
        ),
        call(
            "connect",
            42,
            &[number(0), Argument::Bytes(vec![0; 16]), number(16)],
        ),
        call(
            "bind",
            49,
            &[number(0), Argument::Bytes(vec![0; 16]), number(16)],
        ),
    ];
    for call in &calls {
        check_refused(context, "disk-d0", "", call)?;
    }
    Ok(())
}

fn a_disks_thread_executes_debugs_and_signals_nobody(context: &Context) -> Result<(), Failure> {
    let this = i64::from(std::process::id());
    // PTRACE_SEIZE; PROT_READ | PROT_WRITE | PROT_EXEC in private, anonymous memory.
    let calls = [
        call(
            "execve",
            59,
            &[path_argument(Path::new("/bin/true")), number(0), number(0)],
        ),
        call("fork", 57, &[]),
        call("clone", 56, &[number(17), number(0)]),
        call(
            "ptrace",
            101,
            &[number(0x4206), number(this), number(0), number(0)],
        ),
        call("kill", 62, &[number(this), number(0)]),
        call("tgkill", 234, &[number(this), number(this), number(0)]),
        call(
            "mmap",
            9,
            &[
                number(0),
                number(4096),
                number(7),
                number(0x22),
                number(-1),
                number(0),
            ],
        ),
    ];
    for call in &calls {
        check_refused(context, "disk-d0", "", call)?;
    }
    Ok(())
}

fn a_disks_thread_makes_no_ring(context: &Context) -> Result<(), Failure> {
    let calls = [
        call(
            "io_uring_setup",
            425,
            &[number(8), Argument::Bytes(vec![0; 120])],
        ),
        call(
            "io_uring_register",
            427,
            &[number(0), number(0), number(0), number(0)],
        ),
    ];
    for call in &calls {
        check_refused(context, "disk-d0", "", call)?;
    }
    Ok(())
}

fn a_disks_io_thread_opens_no_file(context: &Context) -> Result<(), Failure> {
    let mut machine = waiting(context, "disk", "on", "aio=threads")?;
    machine.client()?.cont()?;
    machine.report("choose")?;
    let tid = injection::thread(machine.machine.id(), "io-d0")?;
    let made = context.path("made");
    let outcome = injection::perform(machine.machine.id(), tid, &create(&made))?;
    check_eq!(outcome, Outcome::Refused);
    machine.machine.expect_exit(STATUS, SOON)?;
    check!(!made.exists(), "the file was made");
    Ok(())
}

fn other_threads_open_no_file_either(context: &Context) -> Result<(), Failure> {
    let made = context.path("made");
    for thread in ["vcpu0", "monitor", "console", "faultvisor"] {
        check_refused(context, thread, "", &create(&made))?;
        check!(!made.exists(), "{thread} has made the file");
    }
    Ok(())
}

fn the_thread_of_vsock_makes_unix_sockets_and_nothing_else(
    context: &Context,
) -> Result<(), Failure> {
    let made = context.path("made");
    let (unix, internet) = (number(1), number(2));
    // SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC.
    let stream = number(0o2_004_001);
    let there = context.path("there");
    fs::write(&there, "secret")?;
    let calls = [
        open(&there),
        create(&made),
        call("socket", 41, &[internet, stream.clone(), number(0)]),
        call("socket", 41, &[unix.clone(), number(2), number(0)]),
        call(
            "bind",
            49,
            &[number(0), Argument::Bytes(vec![0; 16]), number(16)],
        ),
        call(
            "execve",
            59,
            &[path_argument(Path::new("/bin/true")), number(0), number(0)],
        ),
    ];
    let machine = || {
        let socket = format!("cid=3,socket={}", context.path("vsock").display());
        let plan = Plan::new(context, "choose\nexit off")?;
        let machine = plan.options(&["-S", "--vsock", &socket]).start()?;
        machine.client()?.query_status()?;
        Ok::<_, Failure>(machine)
    };
    for call in &calls {
        let mut machine = machine()?;
        let process = machine.machine.id();
        let tid = injection::thread(process, "vsock")?;
        let outcome = injection::perform(process, tid, call)?;
        check!(outcome == Outcome::Refused, "{call:?}: {outcome:?}");
        machine.machine.expect_exit(STATUS, SOON)?;
    }
    check!(!made.exists(), "the file was made");
    let machine = machine()?;
    let process = machine.machine.id();
    let tid = injection::thread(process, "vsock")?;
    let socket = call("socket", 41, &[unix, stream, number(0)]);
    let outcome = injection::perform(process, tid, &socket)?;
    check!(
        matches!(outcome, Outcome::Returned(descriptor) if descriptor > 2),
        "{outcome:?}"
    );
    Ok(())
}

fn calls_with_a_fallback_fail_without_a_message(context: &Context) -> Result<(), Failure> {
    for path in [
        "/proc/sys/vm/overcommit_memory",
        "/sys/devices/system/cpu/online",
    ] {
        let mut machine = waiting(context, "disk", "on", "")?;
        // It waits for a lock, and retries whatever the kernel returned.
        let tid = injection::thread(machine.machine.id(), "vcpu0")?;
        let outcome = injection::perform(machine.machine.id(), tid, &open(Path::new(path)))?;
        check_eq!(outcome, Outcome::Refused);
        machine.client()?.cont()?;
        machine.report("choose")?;
        machine.machine.console().type_text("o")?;
        machine.ends_well()?;
        check_eq!(machine.machine.messages().text(), "");
    }
    Ok(())
}

fn without_the_sandbox_a_threads_calls_are_its_own(context: &Context) -> Result<(), Failure> {
    let mut machine = waiting(context, "disk", "off", "")?;
    let process = machine.machine.id();
    for thread in ["disk-d0", "vcpu0", "monitor", "console", "faultvisor"] {
        let tid = injection::thread(process, thread)?;
        let made = context.path(thread);
        for call in [
            create(&made),
            call("socket", 41, &[number(1), number(1), number(0)]),
        ] {
            let outcome = injection::perform(process, tid, &call)?;
            check!(
                matches!(outcome, Outcome::Returned(descriptor) if descriptor > 2),
                "{thread}: {call:?}: {outcome:?}"
            );
        }
        check!(made.exists(), "{thread} has made no file");
    }
    // The threads noticed none of that.
    machine.client()?.cont()?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

/// The confinement of each of the program's own threads, from /proc: its name, its number of filters, and no_new_privs.
fn confinement(process: u32) -> Result<Vec<(String, u32, String)>, Failure> {
    let mut found = Vec::new();
    for thread in threads::of(process)? {
        let status = fs::read_to_string(thread.directory.join("status"))?;
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        found.push((
            thread.name,
            of("Seccomp_filters:").parse()?,
            of("NoNewPrivs:"),
        ));
    }
    found.sort();
    Ok(found)
}

fn every_thread_is_confined_also_after_a_reset(context: &Context) -> Result<(), Failure> {
    let mut machine = waiting(context, "disk", "on", "aio=threads")?;
    let client = machine.client()?;
    client.cont()?;
    machine.report("choose")?;
    // Each has the filter that hides clone3, its own, and that of the thread that started it.
    let expected = |vcpu: u32| {
        let filters = [
            ("console", 2),
            ("disk-d0", 2),
            ("faultvisor", 2),
            ("io-d0", 3),
            ("log", 2),
            ("monitor", 2),
            ("vcpu0", vcpu),
        ];
        filters.map(|(name, count)| (name.to_owned(), count, "1".to_owned()))
    };
    check_eq!(confinement(machine.machine.id())?, expected(2));
    for _ in 0..3 {
        client.system_reset()?;
        machine.report("choose")?;
    }
    // The number of resets does not matter: main starts each vCPU anew.
    check_eq!(confinement(machine.machine.id())?, expected(3));
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

/// Inheritable descriptors beyond the standard ones.
fn inheritable(process: u32) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().into_owned();
        let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{number}"))?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap_or_default().trim(), 8)?;
        if number.parse::<u32>()? > 2 && flags & 0o200_0000 == 0 {
            found.push(format!(
                "{number}: {}",
                fs::read_link(entry.path())?.display()
            ));
        }
    }
    Ok(found)
}

fn no_open_descriptor_is_inheritable(context: &Context) -> Result<(), Failure> {
    let given = fs::File::create(context.path("given"))?;
    let given = rustix::io::dup(&given)?;
    fcntl_setfd(&given, fcntl_getfd(&given)? - FdFlags::CLOEXEC)?;
    for sandbox in ["on", "off"] {
        let mut machine = waiting(context, "disk", sandbox, "aio=threads")?;
        let process = machine.machine.id();
        let inherited = fs::read_link(format!("/proc/{process}/fd/{}", given.as_raw_fd()))?;
        check_eq!(inherited, context.path("given"));
        let client = machine.client()?;
        client.cont()?;
        machine.report("choose")?;
        client.system_reset()?;
        machine.report("choose")?;
        check_eq!(inheritable(process)?, Vec::<String>::new());
        machine.machine.console().type_text("o")?;
        machine.ends_well()?;
    }
    Ok(())
}

fn memory_of_the_guest_is_in_no_core_dump(context: &Context) -> Result<(), Failure> {
    let mut machine = waiting(context, "disk", "on", "")?;
    let client = machine.client()?;
    client.cont()?;
    machine.report("choose")?;
    client.system_reset()?;
    machine.report("choose")?;
    let maps = fs::read_to_string(format!("/proc/{}/smaps", machine.machine.id()))?;
    // The guest has 48 MiB; the program has no other writable mapping of that size.
    let mut is_guest = false;
    let mut found = Vec::new();
    for line in maps.lines() {
        if let Some(size) = line.strip_prefix("Size:") {
            is_guest = size.trim() == "49152 kB";
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && is_guest
        {
            found.push(flags.split_whitespace().any(|flag| flag == "dd"));
        }
    }
    check_eq!(found, [true]);
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

/// Ends a program by a failed allocation: clients start messages of one MiB each, and the program may map less than
/// that.
fn an_allocation_that_fails_is_not_taken_for_a_refused_call(
    context: &Context,
) -> Result<(), Failure> {
    const MEBIBYTE: usize = 1 << 20;
    let path = context.path("many");
    let many = format!("unix:{},max-clients=200", path.display());
    let plan = Plan::new(context, "spin")?.options(&["-S", "--qmp", &many]);
    let mut machine = plan.environment("RUST_BACKTRACE", "1").start()?;
    // A thread that still starts allocates its stack for signals: the vCPU has run, and all threads are at rest.
    let client = machine.client()?;
    client.cont()?;
    machine.report("spin")?;
    client.stop()?;
    let pid = machine.machine.id();
    injection::wait_all_asleep(pid)?;
    let mapped = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = mapped
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|_| Failure::new("statm is no number"))?;
    let limit = Rlimit {
        current: Some(pages * 4096),
        maximum: None,
    };
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    prlimit(raw, Resource::As, limit)?;
    let mut half = b"{'execute': '".to_vec();
    half.resize(MEBIBYTE - 1, b'x');
    let mut clients = Vec::new();
    // A thread's arena has space for some of them without mapping more.
    for _ in 0..120 {
        let Ok(mut client) = UnixStream::connect(&path) else {
            break;
        };
        client.set_write_timeout(Some(SOON))?;
        let taken = client.write_all(&half);
        clients.push(client);
        if taken.is_err() {
            break;
        }
    }
    let status = machine.machine.wait_for_exit(SOON)?;
    check_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    let said = machine
        .machine
        .messages()
        .wait_for_end(machine.machine.started() + SOON);
    let said = said.map_err(|_| Failure::new("the messages do not end"))?;
    check!(said.contains("memory allocation of"), "it said '{said}'");
    check!(!said.contains("sandbox"), "it said '{said}'");
    Ok(())
}
