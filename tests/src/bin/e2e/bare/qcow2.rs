//! Disks in qcow2 images, created and checked by qemu-img.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use faultvisor_tests::bare::{BareMachine, Plan, SOON, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, tool};
use libqmp::BlockImageCorrupted;
use serde_json::{Value, json};

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_writes_an_overlay_and_not_its_backing_file,
    a_guest_reads_compressed_clusters,
    queries_show_an_image_and_its_backing_images,
    no_other_program_can_write_a_guests_image,
    an_image_of_a_killed_machine_is_consistent,
    a_corrupt_image_is_reported_and_no_longer_used,
];

/// Sectors of every backing file here: 1 MiB.
const SECTORS: usize = 2048;

fn qemu_img(arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let mut command =
        tool::command("qemu-img").map_err(|error| Failure::skip(error.to_string()))?;
    Ok(tool::output(command.args(arguments).stdin(Stdio::null()))?)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// An overlay on a raw backing file with the pattern of seed 1.
fn overlay(context: &Context) -> Result<(PathBuf, PathBuf), Failure> {
    let (base, top) = (
        image(context, "base", 1, SECTORS)?,
        context.path("top.qcow2"),
    );
    let create = ["create", "-f", "qcow2", "-b", "base", "-F", "raw"];
    qemu_img(&[&create[..], &[&text(&top)]].concat())?;
    Ok((base, top))
}

/// A machine whose guest waits for a key before and after its steps.
fn start(context: &Context, script: &str, drive: &str) -> Result<BareMachine, Failure> {
    let script = format!("setup 0\nchoose\n{script}\nchoose\nexit off");
    let plan = Plan::new(context, &script)?.options(&["--drive", drive]);
    let mut machine = plan.start()?;
    machine.report("choose")?;
    Ok(machine)
}

/// qemu-img finds no error in an image; leaked clusters are allowed.
pub fn check_whole(path: &Path) -> Result<(), Failure> {
    let mut command =
        tool::command("qemu-img").map_err(|error| Failure::skip(error.to_string()))?;
    let output = command.arg("check").arg(path).output()?;
    check!(
        matches!(output.status.code(), Some(0 | 3)),
        "qemu-img check {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// The contents of an image as a guest reads it.
fn flattened(context: &Context, path: &Path) -> Result<Vec<u8>, Failure> {
    let raw = context.path("flattened");
    qemu_img(&["convert", "-O", "raw", &text(path), &text(&raw)])?;
    Ok(fs::read(raw)?)
}

fn a_guest_writes_an_overlay_and_not_its_backing_file(context: &Context) -> Result<(), Failure> {
    for options in [
        ",format=qcow2",
        "",
        ",format=qcow2,cache=none",
        ",format=qcow2,cache=directsync",
    ] {
        let (base, top) = overlay(context)?;
        let before = fs::read(&base)?;
        let script =
            "read 0 0 64\nwrite 0 100 16 5\nflush 0\nread 0 96 32\nburst 0 write 32 512 32 6";
        let drive = format!("file={},id=d0{options}", text(&top));
        let mut machine = start(context, script, &drive)?;
        machine.machine.console().type_text("c")?;
        let read = machine.report("done")?;
        read.expect(1, 0, 0)?;
        check_eq!(read.number("sum")?, pattern::sum(&content(1, 0, 64)));
        let mut expected = before.clone();
        expected[100 * 512..116 * 512].copy_from_slice(&content(5, 100, 16));
        for _ in 0..2 {
            machine.report("done")?.expect(1, 0, 0)?;
        }
        let read = machine.report("done")?;
        check_eq!(
            read.number("sum")?,
            pattern::sum(&expected[96 * 512..128 * 512])
        );
        machine.report("done")?.expect(32, 0, 0)?;
        expected[512 * 512..1536 * 512].copy_from_slice(&content(6, 512, 1024));
        // The last write is not flushed: the machine's end does that.
        machine.report("choose")?;
        machine.machine.console().type_text("o")?;
        machine.ends_well()?;
        check_whole(&top)?;
        check!(
            flattened(context, &top)? == expected,
            "the overlay has other bytes, with '{options}'"
        );
        check!(fs::read(&base)? == before, "the base has changed");
    }
    Ok(())
}

fn a_guest_reads_compressed_clusters(context: &Context) -> Result<(), Failure> {
    let (base, top) = (image(context, "base", 1, SECTORS)?, context.path("packed"));
    // Compressible data.
    let file = File::options().write(true).open(&base)?;
    file.write_all_at(&[0x55; 256 << 10], 0)?;
    qemu_img(&["convert", "-c", "-O", "qcow2", &text(&base), &text(&top)])?;
    let drive = format!("file={},id=d0,format=qcow2", text(&top));
    let mut machine = start(context, "read 0 0 64\nwrite 0 8 8 2\nread 0 0 64", &drive)?;
    machine.machine.console().type_text("c")?;
    let mut expected = vec![0x55; 64 * 512];
    check_eq!(
        machine.report("done")?.number("sum")?,
        pattern::sum(&expected)
    );
    machine.report("done")?.expect(1, 0, 0)?;
    expected[8 * 512..16 * 512].copy_from_slice(&content(2, 8, 8));
    check_eq!(
        machine.report("done")?.number("sum")?,
        pattern::sum(&expected)
    );
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    check_whole(&top)
}

fn queries_show_an_image_and_its_backing_images(context: &Context) -> Result<(), Failure> {
    let (base, top) = overlay(context)?;
    let drive = format!("file={},id=d0,format=qcow2", text(&top));
    let mut machine = start(context, "flush 0", &drive)?;
    let client = machine.client()?;
    let disks = client.execute("query-block")?;
    let node = &disks[0]["inserted"];
    let shown = |value: &Value, expected: &[(&str, Value)]| -> Result<(), Failure> {
        for (key, expected) in expected {
            check!(
                value[key] == *expected,
                "'{key}' is {} in {value}",
                value[key]
            );
        }
        Ok(())
    };
    let depth = json!(1);
    shown(
        node,
        &[
            ("drv", json!("qcow2")),
            ("file", json!(text(&top))),
            ("backing_file", json!(text(&base))),
            ("backing_file_depth", depth),
            ("ro", json!(false)),
            ("node-name", json!("d0")),
        ],
    )?;
    let size = json!(SECTORS * 512);
    shown(
        &node["image"],
        &[
            ("format", json!("qcow2")),
            ("virtual-size", size.clone()),
            ("cluster-size", json!(65536)),
            ("backing-filename", json!("base")),
            ("full-backing-filename", json!(text(&base))),
            ("backing-filename-format", json!("raw")),
        ],
    )?;
    shown(
        &node["image"]["backing-image"],
        &[
            ("format", json!("raw")),
            ("virtual-size", size),
            ("filename", json!(text(&base))),
        ],
    )?;
    let nodes = client.execute("query-named-block-nodes")?;
    check_eq!(nodes.as_array().map(Vec::len), Some(2));
    check_eq!(nodes[0], *node);
    shown(
        &nodes[1],
        &[
            ("drv", json!("raw")),
            ("ro", json!(true)),
            ("backing_file_depth", json!(0)),
        ],
    )?;
    let flat = json!({ "flat": true });
    let nodes = client.execute_with("query-named-block-nodes", flat)?;
    check_eq!(nodes[0]["image"].get("backing-image"), None);
    machine.machine.console().type_text("c")?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn no_other_program_can_write_a_guests_image(context: &Context) -> Result<(), Failure> {
    let (base, top) = overlay(context)?;
    let drive = format!("file={},id=d0,format=qcow2", text(&top));
    let mut machine = start(context, "flush 0", &drive)?;
    let qemu_io = |path: &Path, format: &str, what: &str| {
        let mut command = Command::new("qemu-io");
        command.args(["-f", format, "-c", what]).arg(path);
        command
            .stdin(Stdio::null())
            .output()
            .map_err(|_| Failure::skip("qemu-io is not installed"))
    };
    for (path, format) in [(&base, "raw"), (&top, "qcow2")] {
        let refused = qemu_io(path, format, "write 0 512")?;
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        check!(
            !refused.status.success() && message.contains("Failed to get \"write\" lock"),
            "qemu-io says of {}: {message}",
            path.display()
        );
    }
    let mut read = Command::new("qemu-io");
    read.args(["-r", "-f", "raw", "-c", "read 0 512"])
        .arg(&base);
    tool::run(&mut read)?;
    machine.machine.console().type_text("c")?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    let written = qemu_io(&top, "qcow2", "write 0 512")?;
    check!(written.status.success(), "the image is still locked");
    Ok(())
}

fn an_image_of_a_killed_machine_is_consistent(context: &Context) -> Result<(), Failure> {
    let path = context.path("disk.qcow2");
    // Small clusters need many table entries.
    let create = [
        "create",
        "-f",
        "qcow2",
        "-o",
        "cluster_size=4096",
        &text(&path),
        "64M",
    ];
    qemu_img(&create)?;
    let script = "write 0 0 64 3\nflush 0\nstart 0 write 200 1024 64 4";
    let drive = format!("file={},id=d0,format=qcow2", text(&path));
    let mut machine = start(context, script, &drive)?;
    machine.machine.console().type_text("c")?;
    for _ in 0..2 {
        machine.report("done")?.expect(1, 0, 0)?;
    }
    machine.report("started")?;
    machine.machine.kill()?;
    check_whole(&path)?;
    let found = flattened(context, &path)?;
    check!(
        found[..64 * 512] == content(3, 0, 64),
        "what was flushed is not there"
    );
    // And it can be used again.
    let mut machine = start(context, "burst 0 write 100 1024 64 7\nflush 0", &drive)?;
    machine.machine.console().type_text("c")?;
    machine.report("done")?.expect(100, 0, 0)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    check_whole(&path)
}

fn a_corrupt_image_is_reported_and_no_longer_used(context: &Context) -> Result<(), Failure> {
    let path = context.path("disk.qcow2");
    qemu_img(&["create", "-f", "qcow2", &text(&path), "1M"])?;
    tool::run(
        Command::new("qemu-io")
            .args(["-f", "qcow2", "-c", "write 0 64k"])
            .arg(&path),
    )?;
    let file = File::options().read(true).write(true).open(&path)?;
    let number = |at: u64| -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_be_bytes(bytes))
    };
    // The first cluster's entry points to the L1 table.
    let l1 = number(40)?;
    let l2 = number(l1)? & 0x00ff_ffff_ffff_fe00;
    file.write_all_at(&(l1 | 1 << 63).to_be_bytes(), l2)?;
    let drive = format!("file={},id=d0,format=qcow2", text(&path));
    let mut machine = start(context, "write 0 0 8 3\nread 0 0 8", &drive)?;
    let client = machine.client()?;
    let corruptions = client.get_block_image_corrupted_event()?;
    machine.machine.console().type_text("c")?;
    let found = corruptions.recv_timeout(SOON)?.data;
    let expected = BlockImageCorrupted {
        node_name: Some("d0".to_owned()),
        offset: Some(l1.try_into()?),
        size: Some(8 * 512),
        ..BlockImageCorrupted::new(
            "d0".to_owned(),
            "a write would destroy the L1 table".to_owned(),
            true,
        )
    };
    check_eq!(found, expected);
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    check_eq!(number(l1)? & 0x00ff_ffff_ffff_fe00, l2);
    let info = String::from_utf8_lossy(&qemu_img(&["info", &text(&path)])?).into_owned();
    check!(info.contains("corrupt: true"), "qemu-img says: {info}");
    Ok(())
}
