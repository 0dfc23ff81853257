//! What a test is given.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Failure, Size};
use crate::guest::{GuestImages, Script};
use crate::qemu_schema::QemuSchema;
use faultvisor_harness::Process;
use faultvisor_harness::transcript::Transcript;

/// The prefix of lines with a test's figures.
pub(super) const NOTE: &str = "FV-NOTE ";

/// The place of a run: its files.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program under test.
    pub program: PathBuf,
    /// The guest's images.
    pub guest: GuestImages,
    /// The bare-metal guest (resources/guests/bare).
    pub bare_guest: PathBuf,
    /// A Python with qemu.qmp, if there is one.
    pub python: Option<PathBuf>,
    /// The directory of the examples, if they were built.
    pub examples: Option<PathBuf>,
    /// The directory for images of large disks: on a file system with direct I/O, which that of scratch directories may
    /// lack.
    pub disks: Option<PathBuf>,
    /// QEMU's schema, if it was fetched.
    pub qemu_schema: Option<PathBuf>,
    /// Debian, if it was built.
    pub debian: Option<DebianPlace>,
    /// The size of tests that have sizes.
    pub size: Size,
}

/// Debian's files for its tests.
#[derive(Debug, Clone)]
pub struct DebianPlace {
    /// The directory with its kernels and their initramfs images.
    pub boot: PathBuf,
    /// Writable copies of its disk, one for each test.
    pub disks: Vec<PathBuf>,
    /// Whether the CPU is emulated, as in the lab.
    pub is_emulated: bool,
}

/// What a test is given. The consoles of machines started through it are shown if the test fails.
#[derive(Debug)]
pub struct Context {
    place: Place,
    scratch: tempfile::TempDir,
    disks: Option<tempfile::TempDir>,
    logs: Logs,
}

impl Context {
    /// A context with an empty scratch directory, removed on drop.
    pub(super) fn new(place: Place) -> std::io::Result<Self> {
        let mut directory = tempfile::Builder::new();
        directory.prefix("fv-");
        let scratch = directory.tempdir()?;
        let disks = place.disks.as_ref();
        let disks = disks.map(|path| directory.tempdir_in(path)).transpose()?;
        Ok(Self {
            place,
            scratch,
            disks,
            logs: Logs::default(),
        })
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.place.program
    }

    /// The command-line client, built beside the program under test.
    pub fn qmp(&self) -> PathBuf {
        self.place.program.with_file_name("qmp")
    }

    /// The program that runs programs in guests, built beside the program under test.
    pub fn fvctl(&self) -> PathBuf {
        self.place.program.with_file_name("fvctl")
    }

    /// The guest's images.
    pub fn guest(&self) -> &GuestImages {
        &self.place.guest
    }

    /// The bare-metal guest.
    pub fn bare_guest(&self) -> &Path {
        &self.place.bare_guest
    }

    /// A Python with qemu.qmp, if there is one.
    pub fn python(&self) -> Option<&Path> {
        self.place.python.as_deref()
    }

    /// An example of resources/examples, by its built name. Skips the test if it was not built.
    pub fn example(&self, name: &str) -> Result<PathBuf, Failure> {
        let built = self.place.examples.as_ref().map(|path| path.join(name));
        let built = built.filter(|path| path.exists());
        built.ok_or_else(|| Failure::skip(format!("the example '{name}' was not built")))
    }

    /// QEMU's schema. Skips the test if it was not fetched.
    pub fn qemu_schema(&self) -> Result<QemuSchema, Failure> {
        let fetched = self.place.qemu_schema.clone();
        let fetched = fetched.ok_or_else(|| Failure::skip("QEMU's schema was not fetched"))?;
        Ok(QemuSchema::at(fetched))
    }

    /// Debian. Skips the test if it was not built.
    pub fn debian(&self) -> Result<&DebianPlace, Failure> {
        let made = self.place.debian.as_ref();
        made.ok_or_else(|| Failure::skip("no Debian was made"))
    }

    /// A directory of the test's own, on a path short enough for sockets.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A path in the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A path for the image of a large disk, on a file system with direct I/O. Skips the test if there is none.
    pub fn disk(&self, name: &str) -> Result<PathBuf, Failure> {
        let disks = self.disks.as_ref();
        let disks = disks.ok_or_else(|| Failure::skip("no place for the images of large disks"))?;
        Ok(disks.path().join(name))
    }

    /// The size of this test, if it has sizes.
    pub fn size(&self) -> Size {
        self.place.size
    }

    /// Prints a figure worth knowing when the test passes, in one line.
    pub fn note(&self, text: &str) {
        // A closed output is no reason to fail.
        let _ = writeln!(io::stdout(), "{NOTE}{text}");
    }

    /// Writes the guest's initramfs with `script` in it, and returns its path.
    pub fn initramfs(&self, script: &Script) -> Result<PathBuf, Failure> {
        let path = self.path("initramfs.cpio");
        script.write(self.guest(), &path)?;
        Ok(path)
    }

    /// A command line of the program under test, to be completed and passed to [`start`](Self::start).
    pub fn command(&self) -> Command {
        Command::new(self.program())
    }

    /// Starts a VMM.
    pub fn start(&self, command: &mut Command) -> Result<Process, Failure> {
        let machine = Process::spawn(command)?;
        self.logs.add(&machine);
        Ok(machine)
    }

    /// The output of all machines of this test.
    pub(super) fn logs(&self) -> Logs {
        self.logs.clone()
    }
}

/// The outputs of a test's machines, shared with the watchdog that ends the test.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(Arc<Mutex<Vec<(String, Transcript)>>>);

impl Logs {
    fn add(&self, machine: &Process) {
        let mut transcripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = transcripts.len() / 2 + 1;
        transcripts.push((
            format!("machine {number}, stderr"),
            machine.messages().clone(),
        ));
        transcripts.push((
            format!("machine {number}, serial"),
            machine.serial().clone(),
        ));
    }

    /// All output until now, line by line, each with its machine.
    pub(super) fn text(&self) -> String {
        let transcripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (title, transcript) in transcripts.iter() {
            for line in transcript.text().lines() {
                text.push_str(title);
                text.push_str(": ");
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}
