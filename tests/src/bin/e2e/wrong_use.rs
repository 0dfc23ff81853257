//! Wrong use gets a one-line error that names the mistake, and exit status 1, before any guest runs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use faultvisor_harness::Process;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, tool};

/// Errors are found at once; only a busy machine takes longer.
const SOON: Duration = Duration::from_secs(20);

/// Errors found before KVM is opened.
pub const BEFORE_KVM: &[Test] = tests![
    Needs::Nothing;
    an_unknown_option_is_refused_with_the_nearest_known_one,
    all_unusable_options_are_named_at_once,
    an_argument_that_is_not_utf_8_is_named,
    help_on_an_option_lists_its_keys,
    an_unknown_key_is_refused_with_the_nearest_known_one,
    two_drives_with_one_id_are_refused,
    standard_input_is_not_shared_by_console_and_monitor,
    a_socket_that_is_in_use_is_refused,
    a_socket_path_that_is_too_long_is_refused,
    an_unknown_log_level_is_refused,
    a_machine_without_dev_kvm_says_so,
    a_user_without_access_to_dev_kvm_gets_a_clear_error,
];

/// Errors found while the machine is assembled.
pub const WITH_KVM: &[Test] = tests![
    Needs::Kvm;
    a_file_that_is_not_a_kernel_is_refused,
    a_missing_kernel_is_refused,
    a_truncated_kernel_is_refused,
    a_kernel_that_does_not_fit_into_memory_is_refused,
    less_memory_than_any_kernel_needs_is_refused,
    an_initrd_that_does_not_fit_beside_the_kernel_is_refused,
    a_guest_that_does_not_fit_leaves_no_sockets_and_no_pid_file,
    a_missing_drive_is_refused,
    a_drive_that_is_a_directory_is_refused,
    a_drive_that_is_no_whole_number_of_sectors_is_refused,
    a_pid_file_in_no_directory_is_refused,
];

/// Runs a command line and checks that it is refused, with empty stdout and this line on stderr.
pub fn check_refused(command: &mut Command, line: &str) -> Result<(), Failure> {
    let mut machine = Process::spawn(command)?;
    machine.expect_exit(1, SOON)?;
    let deadline = machine.started() + SOON;
    let ends = |_| Failure::new("the output does not end");
    check_eq!(
        machine.messages().wait_for_end(deadline).map_err(ends)?,
        format!("faultvisor: {line}\n")
    );
    check_eq!(machine.serial().wait_for_end(deadline).map_err(ends)?, "");
    Ok(())
}

/// Runs a command line that is refused, and returns its error.
pub fn refused(command: &mut Command) -> Result<String, Failure> {
    let mut machine = Process::spawn(command)?;
    machine.expect_exit(1, SOON)?;
    let text = machine.messages().wait_for_end(machine.started() + SOON);
    text.map_err(|_| Failure::new("the output does not end"))
}

/// A valid command line.
fn command(context: &Context) -> Command {
    let mut command = context.command();
    command.arg("--kernel").arg(context.guest().vmlinux());
    command.args(["-S", "-m", "256M"]);
    command
}

fn an_unknown_option_is_refused_with_the_nearest_known_one(
    context: &Context,
) -> Result<(), Failure> {
    check_refused(
        command(context).args(["--no-rebot"]),
        "unknown option '--no-rebot'; did you mean '--no-reboot'?",
    )?;
    check_refused(
        command(context).args(["-dirve", "file=x"]),
        "unknown option '-dirve'; did you mean '--drive'?",
    )
}

fn all_unusable_options_are_named_at_once(context: &Context) -> Result<(), Failure> {
    let options = [
        "-nodefaults",
        "-s",
        "-hda",
        "disk.img",
        "--bogus",
        "-display",
        "none",
    ];
    check_refused(
        command(context).args(options),
        "-s: there is no server for gdb\n\
         faultvisor: -hda: disks are virtio-blk: --drive file=disk.img\n\
         faultvisor: unknown option '--bogus'",
    )
}

fn an_argument_that_is_not_utf_8_is_named(context: &Context) -> Result<(), Failure> {
    let mut command = command(context);
    command.arg("--initrd").arg(OsStr::from_bytes(b"/x\xff"));
    check_refused(&mut command, "--initrd: \"/x\\xFF\" is not UTF-8")
}

fn help_on_an_option_lists_its_keys(context: &Context) -> Result<(), Failure> {
    for (topic, expected) in [
        ("drive", "  volatile-cache=on|off\n"),
        ("fault", "  action=power-cut\n"),
    ] {
        let mut command = context.command();
        let mut program = Process::spawn(command.args(["--help", topic]))?;
        program.expect_exit(0, SOON)?;
        let text = program.serial().wait_for_end(program.started() + SOON);
        let text = text.map_err(|_| Failure::new("the output does not end"))?;
        check!(text.contains(expected), "{text}");
    }
    Ok(())
}

fn an_unknown_key_is_refused_with_the_nearest_known_one(context: &Context) -> Result<(), Failure> {
    check_refused(
        command(context).args(["--drive", "file=x,werorr=stop"]),
        "--drive: unknown key 'werorr'; did you mean 'werror'?",
    )?;
    check_refused(
        command(context).args(["--drive", "file=x,werror=panic"]),
        "--drive: werror=panic: 'panic' is not one of report, ignore, enospc, stop",
    )
}

fn two_drives_with_one_id_are_refused(context: &Context) -> Result<(), Failure> {
    let drives = ["--drive", "file=a,id=disk0", "--drive", "file=b,id=disk0"];
    check_refused(
        command(context).args(drives),
        "two drives have the id 'disk0'",
    )
}

fn standard_input_is_not_shared_by_console_and_monitor(context: &Context) -> Result<(), Failure> {
    check_refused(
        command(context).args(["--serial", "stdio", "--qmp", "stdio"]),
        "--serial and --qmp cannot both be on stdio",
    )
}

fn an_unknown_log_level_is_refused(context: &Context) -> Result<(), Failure> {
    check_refused(
        command(context).env("FAULTVISOR_LOG", "x"),
        "FAULTVISOR_LOG: 'x' is not one of error, warn, info, debug, trace, off",
    )
}

fn a_socket_that_is_in_use_is_refused(context: &Context) -> Result<(), Failure> {
    let path = context.path("qmp");
    let listener = UnixListener::bind(&path)?;
    let address = format!("unix:{}", path.display());
    check_refused(
        command(context).args(["--qmp", &address]),
        &format!("--qmp: socket '{}' is in use", path.display()),
    )?;
    // The other listener is unaffected.
    check!(path.exists(), "the socket of another program is gone");
    drop(listener);
    Ok(())
}

fn a_socket_path_that_is_too_long_is_refused(context: &Context) -> Result<(), Failure> {
    let path = format!("/tmp/{}", "long/".repeat(21));
    let address = format!("unix:{path}");
    check_refused(
        command(context).args(["--qmp", &address]),
        &format!(
            "--qmp: socket path '{path}' is too long: {} bytes, and 107 is the most",
            path.len()
        ),
    )
}

/// Runs the program with a /dev of its own, set up by `prepare`, and without privilege over files.
fn check_refused_under_dev(context: &Context, prepare: &str, line: &str) -> Result<(), Failure> {
    const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
    let unshare = || tool::command("unshare");
    let possible = unshare()?
        .args(NAMESPACE)
        .arg("true")
        .stderr(Stdio::null())
        .status()?;
    if !possible.success() {
        return Err(Failure::skip("user namespaces are not permitted here"));
    }
    let wrong = command(context);
    let script = format!(
        "mount -t tmpfs dev /dev && {prepare} && exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\""
    );
    let mut command = unshare()?;
    command.args(NAMESPACE).args(["sh", "-c", &script]);
    command.arg(wrong.get_program()).args(wrong.get_args());
    check_refused(&mut command, line)
}

fn a_machine_without_dev_kvm_says_so(context: &Context) -> Result<(), Failure> {
    check_refused_under_dev(
        context,
        "true",
        "cannot open /dev/kvm: No such file or directory (is virtualization enabled, and a kvm module loaded?)",
    )
}

fn a_user_without_access_to_dev_kvm_gets_a_clear_error(context: &Context) -> Result<(), Failure> {
    check_refused_under_dev(
        context,
        "touch /dev/kvm && chmod 0 /dev/kvm",
        "cannot open /dev/kvm: Permission denied (is the user in the group that owns it?)",
    )
}

fn a_file_that_is_not_a_kernel_is_refused(context: &Context) -> Result<(), Failure> {
    let path = context.path("kernel");
    fs::write(&path, "#!/bin/sh\necho not a kernel\n")?;
    let mut command = context.command();
    check_refused(
        command.arg("--kernel").arg(&path),
        &format!("kernel '{}' is a script", path.display()),
    )?;
    // Common companions of a kernel, given to the wrong option.
    let initramfs = context.guest().initramfs();
    let mut command = context.command();
    check_refused(
        command.arg("--kernel").arg(&initramfs),
        &format!(
            "kernel '{}' is an initramfs: give it with --initrd",
            initramfs.display()
        ),
    )?;
    let disk = context.guest().disk();
    let mut command = context.command();
    check_refused(
        command.arg("--kernel").arg(&disk),
        &format!(
            "kernel '{}' is a disk (ext4): give it with --drive",
            disk.display()
        ),
    )
}

fn a_truncated_kernel_is_refused(context: &Context) -> Result<(), Failure> {
    let images = context.guest();
    for kernel in [images.vmlinux(), images.bzimage()] {
        // A truncated download.
        let path = context.path("kernel");
        let mut whole = File::open(&kernel)?;
        let size = whole.metadata()?.len() / 2;
        std::io::copy(&mut whole.by_ref().take(size), &mut File::create(&path)?)?;
        let mut command = context.command();
        let text = refused(command.arg("--kernel").arg(&path))?;
        let start = format!(
            "faultvisor: kernel '{}' is cut short: it has {size} bytes, and its header speaks of ",
            path.display()
        );
        check!(text.starts_with(&start), "it says: {text}");
    }
    Ok(())
}

fn a_missing_kernel_is_refused(context: &Context) -> Result<(), Failure> {
    let path = context.path("kernel");
    let mut command = context.command();
    check_refused(
        command.arg("--kernel").arg(&path),
        &format!(
            "cannot read kernel '{}': No such file or directory",
            path.display()
        ),
    )
}

fn a_kernel_that_does_not_fit_into_memory_is_refused(context: &Context) -> Result<(), Failure> {
    let images = context.guest();
    for kernel in [images.vmlinux(), images.bzimage()] {
        let mut command = context.command();
        command.arg("--kernel").arg(&kernel).args(["-m", "16M"]);
        let text = refused(&mut command)?;
        let start = format!(
            "faultvisor: 16 MiB of memory are too small for kernel '{}', which needs ",
            kernel.display()
        );
        let needed = text
            .strip_prefix(&start)
            .and_then(|rest| rest.strip_suffix(" MiB\n"))
            .and_then(|number| number.parse::<u64>().ok());
        check!(needed.is_some_and(|needed| needed > 16), "it says: {text}");
    }
    Ok(())
}

fn less_memory_than_any_kernel_needs_is_refused(context: &Context) -> Result<(), Failure> {
    for (size, amount) in [("64k", "64 KiB"), ("1M", "1 MiB")] {
        check_refused(
            command(context).args(["-m", size]),
            &format!("{amount} of memory are too small for any kernel"),
        )?;
    }
    Ok(())
}

fn an_initrd_that_does_not_fit_beside_the_kernel_is_refused(
    context: &Context,
) -> Result<(), Failure> {
    let path = context.path("initrd");
    File::create(&path)?.set_len(250 << 20)?;
    check_refused(
        command(context).arg("--initrd").arg(&path),
        &format!(
            "initrd '{}' of 262144000 bytes does not fit into 256 MiB of memory beside the kernel",
            path.display()
        ),
    )
}

/// The sockets exist by the time that the error is found.
fn a_guest_that_does_not_fit_leaves_no_sockets_and_no_pid_file(
    context: &Context,
) -> Result<(), Failure> {
    let [monitor, serial, pid_file] = ["monitor", "serial", "pid"].map(|name| context.path(name));
    let mut command = context.command();
    command
        .arg("--kernel")
        .arg(context.guest().vmlinux())
        .args(["-m", "16M", "--qmp"])
        .arg(format!("unix:{}", monitor.display()))
        .arg("--serial")
        .arg(format!("unix:{}", serial.display()))
        .arg("--pidfile")
        .arg(&pid_file);
    let text = refused(&mut command)?;
    check!(text.contains("are too small for kernel"), "{text}");
    for path in [monitor, serial, pid_file] {
        check!(!path.exists(), "{} is still there", path.display());
    }
    Ok(())
}

fn check_drive_refused(context: &Context, name: &str, why: &str) -> Result<(), Failure> {
    let path = context.path(name);
    let drive = format!("file={},format=raw,id=data", path.display());
    check_refused(
        command(context).args(["--drive", &drive]),
        &format!(
            "drive 'data': {}",
            why.replace("PATH", &path.display().to_string())
        ),
    )
}

fn a_missing_drive_is_refused(context: &Context) -> Result<(), Failure> {
    let why = "cannot open 'PATH': No such file or directory";
    check_drive_refused(context, "missing", why)
}

fn a_drive_that_is_a_directory_is_refused(context: &Context) -> Result<(), Failure> {
    fs::create_dir(context.path("directory"))?;
    let why = "'PATH' is a directory, not a file or a block device";
    check_drive_refused(context, "directory", why)
}

fn a_drive_that_is_no_whole_number_of_sectors_is_refused(context: &Context) -> Result<(), Failure> {
    fs::write(context.path("odd"), [0; 700])?;
    let why = "the size of 'PATH', 700 bytes, is not a multiple of 512";
    check_drive_refused(context, "odd", why)
}

fn a_pid_file_in_no_directory_is_refused(context: &Context) -> Result<(), Failure> {
    let path = context.path("no/such/pid");
    check_refused(
        command(context).arg("--pidfile").arg(&path),
        &format!(
            "--pidfile: cannot write '{}': No such file or directory",
            path.display()
        ),
    )
}
