//! Images that are invalid, from the start or while a guest uses them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use faultvisor_tests::bare::{BareMachine, Plan, SOON, content, pattern};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, tool};
use serde_json::json;

use super::{check_event, image};
use crate::wrong_use::check_refused;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_qcow2_image_that_cannot_be_used_is_refused_in_one_line,
    a_backing_file_that_may_not_be_opened_is_refused,
    reads_beyond_a_truncated_image_are_io_errors,
    an_image_whose_file_grows_keeps_its_size,
    a_removed_image_is_used_until_the_end,
    an_image_in_a_format_that_cannot_be_used_is_refused_by_name,
    an_image_probed_as_raw_is_reported,
    a_read_only_block_device_is_used_only_by_a_read_only_disk,
];

/// A command line with that drive.
fn command(context: &Context, drive: &str) -> Command {
    let mut command = context.command();
    command.arg("--kernel").arg(context.bare_guest());
    command.args(["-S", "--serial", "null", "--drive", drive]);
    command
}

fn qemu_img(context: &Context, arguments: &[&str]) -> Result<(), Failure> {
    let mut command =
        tool::command("qemu-img").map_err(|error| Failure::skip(error.to_string()))?;
    command.current_dir(context.scratch()).stdin(Stdio::null());
    Ok(tool::run(command.args(arguments))?)
}

fn a_qcow2_image_that_cannot_be_used_is_refused_in_one_line(
    context: &Context,
) -> Result<(), Failure> {
    let path = context.path("disk.qcow2");
    let drive = format!("file={},id=d0,format=qcow2", path.display());
    let refused = |reason: &str| {
        let line = format!("drive 'd0': '{}' {reason}", path.display());
        check_refused(&mut command(context, &drive), &line)
    };
    fs::write(&path, [0; 4096])?;
    refused("is not a qcow2 image")?;
    let broken = |at: u64, bytes: &[u8], reason: &str| {
        fs::remove_file(&path)?;
        qemu_img(context, &["create", "-f", "qcow2", "disk.qcow2", "16M"])?;
        let file = File::options().write(true).open(&path)?;
        file.write_all_at(bytes, at)?;
        refused(reason)
    };
    broken(
        20,
        &[0, 0, 0, 40],
        "has clusters of 2^40 bytes, and 2^9 to 2^21 are possible",
    )?;
    broken(
        24,
        &[0x7f, 255, 255, 255, 255, 255, 254, 0],
        "says that it has 9223372036854775296 bytes, which is more than its clusters can lead to",
    )?;
    broken(
        36,
        &[0x10, 0, 0, 0],
        "has 2147483648 bytes for its L1 table, which is more than any image needs",
    )?;
    broken(
        72,
        &[0x80],
        "has incompatible features that are not known: 0x8000000000000000",
    )?;
    fs::remove_file(&path)?;
    qemu_img(context, &["create", "-f", "qcow2", "disk.qcow2", "16M"])?;
    File::options().write(true).open(&path)?.set_len(65536)?;
    refused("is truncated: it ends before the end of its L1 table")?;
    fs::remove_file(&path)?;
    qemu_img(context, &["create", "-f", "qcow2", "disk.qcow2", "16M"])?;
    qemu_img(
        context,
        &[
            "rebase",
            "-u",
            "-b",
            "disk.qcow2",
            "-F",
            "qcow2",
            "disk.qcow2",
        ],
    )?;
    refused("is part of a loop of backing files")?;
    qemu_img(
        context,
        &["rebase", "-u", "-b", "missing", "-F", "raw", "disk.qcow2"],
    )?;
    let line = format!(
        "drive 'd0': backing file of '{}': cannot open '{}': No such file or directory",
        path.display(),
        context.path("missing").display()
    );
    check_refused(&mut command(context, &drive), &line)
}

fn a_backing_file_that_may_not_be_opened_is_refused(context: &Context) -> Result<(), Failure> {
    let (secret, path) = (image(context, "secret", 1, 64)?, context.path("disk.qcow2"));
    let secret = secret.display().to_string();
    qemu_img(
        context,
        &[
            "create",
            "-f",
            "qcow2",
            "-b",
            &secret,
            "-F",
            "raw",
            "disk.qcow2",
        ],
    )?;
    let drive = format!("file={},id=d0,format=qcow2,backing=off", path.display());
    let line = format!(
        "drive 'd0': '{}' has the backing file '{secret}', and backing=off does not allow one",
        path.display()
    );
    check_refused(&mut command(context, &drive), &line)
}

/// A machine with a raw disk, which waits for a key before each step of its script.
fn start(
    context: &Context,
    disk: &Path,
    steps: &[&str],
    options: &str,
) -> Result<BareMachine, Failure> {
    let steps: String = steps
        .iter()
        .map(|step| format!("choose\n{step}\n"))
        .collect();
    let script = format!("setup 0\n{steps}choose\nexit off");
    let drive = format!("file={},id=d0{options}", disk.display());
    let plan = Plan::new(context, &script)?.options(&["--drive", &drive]);
    let mut machine = plan.start()?;
    machine.report("choose")?;
    Ok(machine)
}

/// Lets the guest take its next step.
fn step(machine: &mut BareMachine) -> Result<faultvisor_tests::bare::Report, Failure> {
    machine.machine.console().type_text("c")?;
    let done = machine.report("done")?;
    machine.report("choose")?;
    Ok(done)
}

fn end(mut machine: BareMachine) -> Result<(), Failure> {
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn reads_beyond_a_truncated_image_are_io_errors(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let steps = ["read 0 32 8", "read 0 0 8", "read 0 32 8"];
    let mut machine = start(context, &disk, &steps, ",format=raw,rerror=report")?;
    let client = machine.client()?;
    step(&mut machine)?.expect(1, 0, 0)?;
    File::options().write(true).open(&disk)?.set_len(16 * 512)?;
    step(&mut machine)?.expect(1, 0, 0)?;
    step(&mut machine)?.expect(0, 1, 0)?;
    let data = [
        ("operation", json!("read")),
        ("action", json!("report")),
        ("reason", json!("Input/output error")),
    ];
    check_event(&client.next_event()?, "BLOCK_IO_ERROR", &data)?;
    end(machine)
}

fn an_image_whose_file_grows_keeps_its_size(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let mut machine = start(
        context,
        &disk,
        &["read 0 63 1", "read 0 64 1"],
        ",format=raw",
    )?;
    File::options()
        .write(true)
        .open(&disk)?
        .set_len(128 * 512)?;
    step(&mut machine)?.expect(1, 0, 0)?;
    step(&mut machine)?.expect(0, 1, 0)?;
    let client = machine.client()?;
    let disks = client.execute("query-block")?;
    check_eq!(disks[0]["inserted"]["image"]["virtual-size"], 64 * 512);
    end(machine)
}

fn a_removed_image_is_used_until_the_end(context: &Context) -> Result<(), Failure> {
    for format in ["raw", "qcow2"] {
        let disk = context.path("disk");
        if format == "raw" {
            image(context, "disk", 1, 64)?;
        } else {
            qemu_img(context, &["create", "-f", "qcow2", "disk", "32k"])?;
        }
        let steps = ["write 0 8 8 5", "flush 0", "read 0 8 8"];
        let options = format!(",format={format}");
        let mut machine = start(context, &disk, &steps, &options)?;
        fs::remove_file(&disk)?;
        for _ in 0..2 {
            step(&mut machine)?.expect(1, 0, 0)?;
        }
        let read = step(&mut machine)?;
        check_eq!(read.number("sum")?, pattern::sum(&content(5, 8, 8)));
        end(machine)?;
        check!(!disk.exists(), "there is an image again");
    }
    Ok(())
}

fn an_image_in_a_format_that_cannot_be_used_is_refused_by_name(
    context: &Context,
) -> Result<(), Failure> {
    for format in ["vmdk", "vdi", "vhdx", "qcow", "vpc", "qed", "parallels"] {
        let name = format!("disk.{format}");
        qemu_img(context, &["create", "-q", "-f", format, &name, "16M"])?;
        let path = context.path(&name);
        let before = fs::read(&path)?;
        let reason = format!(
            "'{}' looks like an image in the format {format}, and only raw and qcow2 can be used (if the disk is to \
             have these bytes as they are, say that its format is raw)",
            path.display()
        );
        let drive = format!("file={},id=d0", path.display());
        check_refused(
            &mut command(context, &drive),
            &format!("drive 'd0': {reason}"),
        )?;
        qemu_img(
            context,
            &["create", "-q", "-f", "qcow2", "top.qcow2", "16M"],
        )?;
        // An image whose header does not state its backing file's format, as in old ones.
        let bytes = name.as_bytes();
        let top = context.path("top.qcow2");
        let file = File::options().write(true).open(&top)?;
        file.write_all_at(bytes, 512)?;
        file.write_all_at(&512_u64.to_be_bytes(), 8)?;
        let length = u32::try_from(bytes.len()).map_err(|error| Failure::new(error.to_string()))?;
        file.write_all_at(&length.to_be_bytes(), 16)?;
        let drive = format!("file={},format=qcow2,id=d0", top.display());
        check_refused(
            &mut command(context, &drive),
            &format!("drive 'd0': backing file of '{}': {reason}", top.display()),
        )?;
        check!(
            fs::read(&path)? == before,
            "{format}: the image was changed"
        );
    }
    Ok(())
}

fn an_image_probed_as_raw_is_reported(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let warning = format!("drive 'd0': '{}' is used as raw", disk.display());
    for (format, expected) in [("", true), (",format=raw", false)] {
        let drive = format!("file={}{format},id=d0", disk.display());
        let socket = context.path("qmp");
        let mut command = command(context, &drive);
        command.args(["--qmp", &format!("unix:{}", socket.display())]);
        let mut machine = context.start(&mut command)?;
        Client::connect(&socket, SOON)?.quit()?;
        machine.expect_exit(0, SOON)?;
        let told = machine.messages().text();
        check_eq!(told.contains(&warning), expected);
    }
    Ok(())
}

/// A loop device that refuses writes, detached on drop.
struct ReadOnlyDevice {
    path: String,
}

impl ReadOnlyDevice {
    fn new(file: &Path) -> Result<Self, Failure> {
        let skip = |why: String| Failure::skip(format!("no loop device: {why}"));
        let mut attach = tool::command("losetup").map_err(|error| skip(error.to_string()))?;
        attach.args(["--read-only", "--find", "--show"]).arg(file);
        let path = tool::output(&mut attach).map_err(|error| skip(error.to_string()))?;
        Ok(Self {
            path: String::from_utf8_lossy(&path).trim().to_owned(),
        })
    }
}

impl Drop for ReadOnlyDevice {
    fn drop(&mut self) {
        // A failure to detach cannot be handled.
        let _ = Command::new("losetup")
            .args(["--detach", &self.path])
            .status();
    }
}

fn a_read_only_block_device_is_used_only_by_a_read_only_disk(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let device = ReadOnlyDevice::new(&disk)?;
    for cache in ["", ",cache=none"] {
        let drive = format!("file={},format=raw,id=d0{cache}", device.path);
        check_refused(
            &mut command(context, &drive),
            &format!(
                "drive 'd0': '{}' is a read-only block device; readonly=on uses it as such",
                device.path
            ),
        )?;
        let plan = Plan::new(context, "setup 0\nread 0 0 8\nexit off")?;
        let options = format!("id=d0,readonly=on{cache}");
        let mut machine = plan.disk(Path::new(&device.path), &options).start()?;
        machine.ends_well()?;
    }
    Ok(())
}
