//! Demonstrates the main job: a disk fills up, a client that holds a handle receives the error, makes space, and the
//! guest continues unaware.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::ValueEnum;
use faultvisor_harness::Process;
use faultvisor_tests::guest_shell::{self, GuestShell, PATIENCE};
use faultvisor_tests::suite::{Failure, Place};
use faultvisor_tests::{check, check_eq};
use libqmp::{BlockErrorAction, Direction, RunState, Session};

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
/// Repeated over the whole disk. No two blocks of the disk are a multiple of this apart, so that no two are equal.
const PATTERN_BYTES: usize = 1_000_003;
/// A longer line is wrapped at a word.
const COLUMNS: usize = 100;

/// Runs the demonstration, or returns what failed.
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
    let further = Arc::new(AtomicUsize::new(0));
    let session = connect(&monitor, Arc::clone(&further))?;
    guest.wait()?;
    let started = guest.machine().started();
    say(&format!(
        "The guest is up after {:.1} s: Linux {}.",
        started.elapsed().as_secs_f64(),
        guest.run("uname -r")?
    ));

    let errors = session.get_block_io_error_event()?;
    let stops = session.get_stop_event()?;
    fill(&mut guest)?;
    let error = errors.recv_timeout(PATIENCE)?;
    check_eq!(error.action, BlockErrorAction::Stop);
    check_eq!(error.nospace, Some(shortage == Shortage::FileSystem));
    stops.recv_timeout(PATIENCE)?;
    check_eq!(session.query_status()?.status, RunState::IoError);

    space.grow(guest.machine().id())?;
    say(space_is_made);
    session.cont()?;
    guest.succeed()?;
    check_eq!(session.query_status()?.status, RunState::Running);
    compare(&image, &pattern)?;
    say(&format!(
        "The guest's write is complete; it has noticed nothing. The image holds all {DISK_MIB} MiB, byte for byte."
    ));

    errors.put()?;
    stops.put()?;
    further.store(0, Ordering::Relaxed);
    File::options()
        .write(true)
        .open(&image)?
        .set_len(DISK_MIB << 19)?;
    say("The handles are given back. The image loses its second half, and the guest reads there.");
    let read = "dd if=/dev/vda of=/dev/null bs=64k skip=1023 count=1 iflag=direct";
    guest_says(read);
    let failed = guest.attempt(read)?;
    check!(failed.status != 0, "the guest read what is not there");
    guest_says(failed.output.lines().next().unwrap_or_default());
    // Events until then arrive before the answer.
    session.quit()?;
    check_eq!(further.load(Ordering::Relaxed), 0);
    guest.expect_exit(0)?;
    say("The further error was told to nobody any more. The machine has ended with status 0.");
    Ok(())
}

/// Connects a client whose lines are shown, and whose errors are counted.
fn connect(monitor: &Path, errors: Arc<AtomicUsize>) -> Result<Session, Failure> {
    let options = Session::options().within(PATIENCE).timeout(PATIENCE);
    let options = options.observe(move |direction, line| {
        show(direction, line);
        let is_error = direction == Direction::Received && line.contains("BLOCK_IO_ERROR");
        errors.fetch_add(usize::from(is_error), Ordering::Relaxed);
    });
    Ok(options.connect(&format!("unix:{}", monitor.display()))?)
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

/// What limits the image's size.
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

    /// The path of the image.
    fn image(&self, elsewhere: PathBuf) -> PathBuf {
        match self {
            Self::FileSystem(small) => small.path("disk.img"),
            Self::FileSizeLimit => elsewhere,
        }
    }

    /// Limits the size of the files of `process`, unless the file system does.
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

    /// Describes the limit, and its removal.
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

fn show(direction: Direction, line: &str) {
    write_wrapped(
        match direction {
            Direction::Sent => "-> ",
            Direction::Received => "<- ",
        },
        line,
    );
}

/// Writes immediately, in lines that fit a terminal. A closed output is no reason to stop.
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
