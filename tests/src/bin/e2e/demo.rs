//! The main job, shown: a disk fills up, a client that holds a handle is told, makes space, and the guest goes on as if
//! nothing had happened.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use faultvisor_harness::Process;
use faultvisor_tests::guest_shell::{self, GuestShell, PATIENCE};
use faultvisor_tests::qmp::{Qmp, Speaker};
use faultvisor_tests::suite::{Failure, Place};
use faultvisor_tests::{check, check_eq};
use serde_json::{Value, json};

use crate::linux;
use crate::space::{SmallFileSystem, limit_file_size};

/// Why the disk's image has less space than the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shortage {
    /// The image lies on a small file system. Needs the right to mount one.
    FileSystem,
    /// The program's files may grow to a size and no further.
    FileSizeLimit,
}

const DISK_MIB: u64 = 64;
const SPACE_MIB: u64 = 8;
/// Repeated all over the disk. No block of the disk is a whole number of these from another, so that none looks like
/// another.
const PATTERN_BYTES: usize = 1_000_003;
/// A line is broken before the word that goes beyond this many characters.
const COLUMNS: usize = 100;

/// Shows it, or says what was not as it should be.
pub fn perform(place: &Place, shortage: Shortage) -> Result<(), Failure> {
    let scratch = tempfile::Builder::new().prefix("fv-demo-").tempdir()?;
    let path = |name: &str| scratch.path().join(name);
    let space = Space::new(shortage, path("small"))?;
    let image = space.image(path("disk.img"));
    linux::image(&image, DISK_MIB, b"")?;
    let (initramfs, monitor) = (path("initramfs"), path("qmp"));
    let pattern = linux::pattern(64, PATTERN_BYTES);
    let script = guest_shell::script().file("pattern", pattern.clone());
    script.write(&place.guest, &initramfs)?;

    let (shortage_is, space_is_made) = space.description();
    say(&format!(
        "A disk of {DISK_MIB} MiB, and {SPACE_MIB} MiB of space for its image: {shortage_is}."
    ));
    let werror = match shortage {
        Shortage::FileSystem => "enospc",
        Shortage::FileSizeLimit => "stop",
    };
    let drive = format!(
        "file={},format=raw,id=disk0,werror={werror}",
        image.display()
    );
    say(&format!("Linux boots, with --drive {drive}"));
    let mut command = Command::new(&place.program);
    let kernel = place.guest.vmlinux();
    guest_shell::boot_arguments(&mut command, &kernel, &initramfs, &monitor);
    command.args(["-m", guest_shell::MEMORY, "--drive", &drive]);
    let mut guest = GuestShell::new(Process::spawn(&mut command)?);
    space.restrict(guest.machine().id())?;
    let mut client = Qmp::connect_unix(&monitor, PATIENCE)?;
    client.observe(Box::new(show));
    client.negotiate(PATIENCE)?;
    guest.wait()?;
    let started = guest.machine().started();
    say(&format!(
        "The guest is up after {:.1} s: Linux {}.",
        started.elapsed().as_secs_f64(),
        guest.run("uname -r")?
    ));

    let tag = client.execute("get-block-io-error-event", None, PATIENCE)?;
    fill(&mut guest)?;
    let mut events = events_until(&mut client, "STOP")?;
    // A default event may come later than the machine's stop: they are rate-limited.
    while !has_error(&events, Some(&tag)) || !has_error(&events, None) {
        events.push(client.next_event(PATIENCE)?);
    }
    for event in events
        .iter()
        .filter(|event| event["event"] == "BLOCK_IO_ERROR")
    {
        check_eq!(event["data"]["action"], "stop");
        check_eq!(event["data"]["nospace"], shortage == Shortage::FileSystem);
    }
    let status = client.execute("query-status", None, PATIENCE)?;
    check_eq!(status["status"], "io-error");

    space.grow(guest.machine().id())?;
    say(space_is_made);
    client.execute("cont", None, PATIENCE)?;
    guest.succeed()?;
    let status = client.execute("query-status", None, PATIENCE)?;
    check_eq!(status["status"], "running");
    compare(&image, &pattern)?;
    say(&format!(
        "The guest's write is complete; it has noticed nothing. The image holds all {DISK_MIB} MiB, byte for byte."
    ));

    client.execute("put-event", Some(json!({ "tag": tag })), PATIENCE)?;
    client.take_events();
    File::options()
        .write(true)
        .open(&image)?
        .set_len(DISK_MIB << 19)?;
    say("The handle is given back. The image loses its second half, and the guest reads there.");
    let read = "dd if=/dev/vda of=/dev/null bs=64k skip=1023 count=1 iflag=direct";
    guest_says(read);
    let failed = guest.attempt(read)?;
    check!(failed.status != 0, "the guest read what is not there");
    guest_says(failed.output.lines().next().unwrap_or_default());
    let mut events = vec![client.next_event(PATIENCE)?];
    client.execute("quit", None, PATIENCE)?;
    events.extend(events_until(&mut client, "SHUTDOWN")?);
    check!(has_error(&events, None), "the error was not told");
    let tagged = events.iter().find(|event| event.get("tag").is_some());
    check!(tagged.is_none(), "{tagged:?} after put-event");
    guest.expect_exit(0)?;
    say("The further error came without a tag, and only so. The machine has ended with status 0.");
    Ok(())
}

/// Has the guest begin to fill its disk.
fn fill(guest: &mut GuestShell) -> Result<(), Failure> {
    let fill = format!(
        "while cat /test/pattern; do :; done 2> /dev/null | \
         dd of=/dev/vda bs=1M count={DISK_MIB} iflag=fullblock oflag=direct"
    );
    guest_says(&fill);
    guest.begin(&fill)?;
    Ok(())
}

/// What stands between the image and its full size.
enum Space {
    FileSystem(SmallFileSystem),
    FileSizeLimit,
}

impl Space {
    fn new(shortage: Shortage, mount_point: PathBuf) -> Result<Self, Failure> {
        Ok(match shortage {
            Shortage::FileSystem => {
                Self::FileSystem(SmallFileSystem::mount(mount_point, SPACE_MIB)?)
            }
            Shortage::FileSizeLimit => Self::FileSizeLimit,
        })
    }

    /// Where the image lies.
    fn image(&self, elsewhere: PathBuf) -> PathBuf {
        match self {
            Self::FileSystem(small) => small.path("disk.img"),
            Self::FileSizeLimit => elsewhere,
        }
    }

    /// Limits what `process` can write, where the file system does not.
    fn restrict(&self, process: u32) -> Result<(), Failure> {
        match self {
            Self::FileSystem(_) => Ok(()),
            Self::FileSizeLimit => limit_file_size(process, Some(SPACE_MIB << 20)),
        }
    }

    /// Makes space for the whole disk.
    fn grow(&self, process: u32) -> Result<(), Failure> {
        match self {
            Self::FileSystem(small) => small.resize(DISK_MIB),
            Self::FileSizeLimit => limit_file_size(process, None),
        }
    }

    /// What is done to have so little space, and to have more.
    fn description(&self) -> (&'static str, &'static str) {
        match self {
            Self::FileSystem(_) => (
                "the file system that the image lies on has no more",
                "Space is made: the file system gets larger.",
            ),
            Self::FileSizeLimit => (
                "files of the program may get no larger (RLIMIT_FSIZE)",
                "Space is made: the limit is lifted.",
            ),
        }
    }
}

/// The events up to the next of this name.
fn events_until(client: &mut Qmp, name: &str) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    loop {
        let event = client.next_event(PATIENCE)?;
        let is_last = event["event"] == name;
        events.push(event);
        if is_last {
            return Ok(events);
        }
    }
}

fn has_error(events: &[Value], tag: Option<&Value>) -> bool {
    events
        .iter()
        .any(|event| event["event"] == "BLOCK_IO_ERROR" && event.get("tag") == tag)
}

/// Fails unless the image holds the pattern, repeated to the disk's end.
fn compare(image: &Path, pattern: &[u8]) -> Result<(), Failure> {
    let mut file = File::open(image)?;
    let mut left = usize::try_from(DISK_MIB << 20)?;
    let mut found = vec![0; pattern.len()];
    while left > 0 {
        let length = left.min(pattern.len());
        file.read_exact(&mut found[..length])?;
        check!(
            found[..length] == pattern[..length],
            "the image does not hold what the guest wrote, {left} bytes before its end"
        );
        left -= length;
    }
    Ok(())
}

fn say(text: &str) {
    write_wrapped("", text);
}

fn guest_says(text: &str) {
    write_wrapped("   guest: ", text);
}

fn show(speaker: Speaker, line: &str) {
    write_wrapped(
        match speaker {
            Speaker::Client => "-> ",
            Speaker::Server => "<- ",
        },
        line,
    );
}

/// Writes at once, in lines that fit a terminal. A reader that has gone away is no reason to stop.
fn write_wrapped(start: &str, text: &str) {
    let mut line = start.to_owned();
    let mut lines = String::new();
    for word in text.split_inclusive(' ') {
        if line.len() + word.trim_end().len() > COLUMNS && line.len() > start.len() {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(start.len());
        }
        line.push_str(word);
    }
    let _ = writeln!(io::stdout(), "{lines}{}", line.trim_end());
}
