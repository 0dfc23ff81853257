//! Debian 12 as it installs itself, from its own disk: it boots to a prompt, finds its hardware, and powers off on
//! request.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use faultvisor_harness::Process;
use faultvisor_tests::client::Client;
use faultvisor_tests::debian::{Kernel, PASSWORD};
use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure, Needs, Size, Test};
use faultvisor_tests::{check, check_eq, tool};
use serde_json::json;

use crate::linux;

/// A boot takes long in the lab: there is one for each number of CPUs, each size of memory and each kernel. Only in the
/// full size do all of them reach a prompt; in the small one the others start a shell as soon as their kernel has
/// mounted its disk.
pub const TESTS: &[Test] = &[
    test(
        "debian_boots_from_its_disk_and_shuts_down_when_asked",
        |context| boots_and_shuts_down(context, &machine(0, 1, 512, Kernel::Release)),
    ),
    test(
        "debian_boots_on_two_cpus_with_the_kernel_from_the_backports",
        |context| boots(context, &machine(1, 2, 512, Kernel::Backports)),
    )
    .with_sizes()
    .limit(LIMIT),
    test("debian_boots_on_four_cpus_with_five_gibibytes", |context| {
        boots(context, &machine(2, 4, 5 << 10, Kernel::Release))
    })
    .with_sizes()
    .limit(LIMIT),
];

const LIMIT: Duration = Duration::from_secs(800);

/// A distribution's user space takes a minute or two to start on an emulated CPU, and longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

/// The kernel's command line. The firmware's tables describe its disk.
const APPEND: &str = "root=/dev/vda ro console=ttyS0 quiet";

/// Added for a shell instead of a distribution's services.
const ONLY_A_SHELL: &str = " init=/bin/bash";

/// QEMU before 8.0 emulates cmpxchg16b with undefined flags, which ends Linux 6.12 in a double fault. This disables the
/// instruction.
const WITHOUT_CMPXCHG16B: &str = " clearcpuid=cx16";

const fn test(name: &'static str, run: fn(&Context) -> Result<(), Failure>) -> Test {
    Test::new(name, Needs::Debian, run).limit(LIMIT)
}

/// A machine with a disk of its own.
struct Machine {
    disk: usize,
    cpus: u32,
    memory_mib: u64,
    kernel: Kernel,
}

const fn machine(disk: usize, cpus: u32, memory_mib: u64, kernel: Kernel) -> Machine {
    Machine {
        disk,
        cpus,
        memory_mib,
        kernel,
    }
}

/// Boots as far as the test's size requires.
fn boots(context: &Context, given: &Machine) -> Result<(), Failure> {
    match context.size() {
        Size::Small => boots_to_a_shell(context, given),
        Size::Full => boots_and_shuts_down(context, given),
    }
}

fn boots_and_shuts_down(context: &Context, given: &Machine) -> Result<(), Failure> {
    let disk = disk(context, given)?;
    let append = append(context, given)?;
    let machine = start(context, given, &disk, &append)?;
    let client = Client::connect(&linux::monitor(context), PATIENCE)?;
    let mut guest = log_in(context, machine)?;

    sees_what_was_given(&mut guest, given, &append)?;
    check_eq!(guest.run("systemctl is-system-running --wait")?, "running");
    check_eq!(guest.run("systemctl --failed --plain --no-legend")?, "");

    client.system_powerdown()?;
    client.wait_for_event("POWERDOWN")?;
    ends(guest, &client, &disk)
}

/// The kernel and its initramfs find the disk, and its shell finds the machine's hardware.
fn boots_to_a_shell(context: &Context, given: &Machine) -> Result<(), Failure> {
    let disk = disk(context, given)?;
    let append = append(context, given)? + ONLY_A_SHELL;
    let mut machine = start(context, given, &disk, &append)?;
    let client = Client::connect(&linux::monitor(context), PATIENCE)?;
    machine.console().wait_for("root@", PATIENCE)?;
    let mut guest = obey(machine)?;
    sees_what_was_given(&mut guest, given, &append)?;
    guest.begin("poweroff -ff")?;
    ends(guest, &client, &disk)
}

/// The guest has powered off, and the machine ends successfully.
fn ends(mut guest: GuestShell, client: &Client, disk: &Path) -> Result<(), Failure> {
    let shutdown = client.wait_for_event("SHUTDOWN")?;
    check_eq!(
        shutdown.data,
        json!({ "guest": true, "reason": "guest-shutdown" })
    );
    guest.machine().expect_exit(0, PATIENCE)?;
    check_eq!(guest.machine().messages().text(), "");
    is_clean(disk)
}

fn sees_what_was_given(
    guest: &mut GuestShell,
    given: &Machine,
    append: &str,
) -> Result<(), Failure> {
    check_eq!(guest.run("cat /proc/cmdline")?, append);
    let version = guest.run("uname -r")?;
    check!(
        version.starts_with(given.kernel.version()),
        "the kernel is {version}"
    );
    check_eq!(guest.run("findmnt -no SOURCE,FSTYPE /")?, "/dev/vda ext4");
    sees_its_cpus(guest, given.cpus)?;
    sees_its_memory(guest, given.memory_mib)
}

fn disk(context: &Context, given: &Machine) -> Result<PathBuf, Failure> {
    let disk = context.debian()?.disks.get(given.disk);
    let disk = disk.ok_or_else(|| Failure::new("there are fewer disks than tests"))?;
    Ok(disk.clone())
}

fn append(context: &Context, given: &Machine) -> Result<String, Failure> {
    let is_wrong = context.debian()?.is_emulated && given.kernel == Kernel::Backports;
    Ok(APPEND.to_owned() + if is_wrong { WITHOUT_CMPXCHG16B } else { "" })
}

fn start(
    context: &Context,
    given: &Machine,
    disk: &Path,
    append: &str,
) -> Result<Process, Failure> {
    let boot = &context.debian()?.boot;
    let mut command = context.command();
    command.arg("--kernel").arg(given.kernel.image(boot));
    command.arg("--initrd").arg(given.kernel.initramfs(boot));
    command.args(["--append", append]);
    command.args(["-m", &format!("{}M", given.memory_mib)]);
    command.args(["--smp", &given.cpus.to_string()]);
    linux::add_disk(&mut command, disk, "format=raw,id=disk0");
    let monitor = linux::monitor(context);
    command.args(["--serial", "stdio", "--qmp"]);
    command.arg(format!("unix:{}", monitor.display()));
    context.start(&mut command)
}

/// Logs in as a person would.
fn log_in(context: &Context, mut machine: Process) -> Result<GuestShell, Failure> {
    let started = machine.started();
    let console = machine.console();
    let prompt = console.wait_for("debian login:", PATIENCE)?;
    console.type_line("root")?;
    console.wait_for("Password:", PATIENCE)?;
    console.type_line(PASSWORD)?;
    console.wait_for("root@debian", PATIENCE)?;
    let mut guest = obey(machine)?;
    let entropy = guest.run("dmesg | grep -o '^.*crng init done' || true")?;
    context.note(&format!(
        "login after {:.1} s; {entropy}",
        (prompt.at - started).as_secs_f64()
    ));
    Ok(guest)
}

/// Makes the shell at a prompt obey this test.
fn obey(mut machine: Process) -> Result<GuestShell, Failure> {
    machine.console().type_line(guest_shell::TYPED)?;
    let mut guest = GuestShell::new(machine);
    guest.be_patient(PATIENCE);
    guest.wait_for_shell()?;
    // Nothing else may write into the answers, or add escape sequences.
    guest.run("dmesg -n 1; export TERM=dumb LC_ALL=C SYSTEMD_PAGER=cat SYSTEMD_COLORS=0")?;
    Ok(guest)
}

fn sees_its_cpus(guest: &mut GuestShell, cpus: u32) -> Result<(), Failure> {
    check_eq!(guest.run("nproc")?, cpus.to_string());
    let last = cpus - 1;
    let all = if last == 0 {
        "0".to_owned()
    } else {
        format!("0-{last}")
    };
    check_eq!(guest.run("cat /sys/devices/system/cpu/online")?, all);
    // One package of single-threaded cores.
    let topology = "cd /sys/devices/system/cpu; for n in $(seq 0 $LAST); do \
                    echo $(cat cpu$n/topology/package_cpus_list cpu$n/topology/thread_siblings_list); done";
    let seen = guest.run(&topology.replace("$LAST", &last.to_string()))?;
    let expected: Vec<String> = (0..cpus).map(|cpu| format!("{all} {cpu}")).collect();
    check_eq!(seen, expected.join("\n"));
    Ok(())
}

/// The kernel's own memory grows with the memory that it manages.
fn sees_its_memory(guest: &mut GuestShell, given_mib: u64) -> Result<(), Failure> {
    let total = guest.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo")?;
    let total_mib = total.parse::<u64>()? >> 10;
    let least = given_mib - 64 - given_mib / 32;
    check!(
        (least..given_mib).contains(&total_mib),
        "the guest sees {total_mib} MiB, of {given_mib}"
    );
    Ok(())
}

/// The file system was unmounted, and is consistent.
fn is_clean(disk: &Path) -> Result<(), Failure> {
    // The superblock is at 1,024 (Linux Documentation/filesystems/ext4/super.rst).
    const STATE: u64 = 1024 + 0x3a;
    const INCOMPATIBLE_FEATURES: u64 = 1024 + 0x60;
    const CLEANLY_UNMOUNTED: u16 = 1;
    const NEEDS_RECOVERY: u32 = 4;
    let file = File::open(disk)?;
    let (mut state, mut features) = ([0; 2], [0; 4]);
    file.read_exact_at(&mut state, STATE)?;
    file.read_exact_at(&mut features, INCOMPATIBLE_FEATURES)?;
    check_eq!(u16::from_le_bytes(state), CLEANLY_UNMOUNTED);
    check_eq!(u32::from_le_bytes(features) & NEEDS_RECOVERY, 0);
    tool::run(tool::command("e2fsck")?.arg("-fn").arg(disk))?;
    Ok(())
}
