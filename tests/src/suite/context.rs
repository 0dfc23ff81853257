//! What a test has at hand.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;
use crate::guest::{GuestImages, Script};
use crate::machine::Machine;
use crate::transcript::Transcript;

/// Where a run takes place: which files it has.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program under test.
    pub program: PathBuf,
    /// The guest's images.
    pub guest: GuestImages,
}

/// What a test has at hand. Machines started through it show their consoles when the test fails.
#[derive(Debug)]
pub struct Context {
    place: Place,
    scratch: tempfile::TempDir,
    transcripts: RefCell<Vec<(String, Transcript)>>,
}

impl Context {
    /// A context with an empty scratch directory, which goes with it.
    pub(super) fn new(place: Place) -> std::io::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("fv-").tempdir()?;
        Ok(Self {
            place,
            scratch,
            transcripts: RefCell::default(),
        })
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.place.program
    }

    /// The guest's images.
    pub fn guest(&self) -> &GuestImages {
        &self.place.guest
    }

    /// A directory of the test's own, on a short path, so that sockets fit in it.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A path in the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
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
    pub fn start(&self, command: &mut Command) -> Result<Machine, Failure> {
        let machine = Machine::spawn(command)?;
        let mut transcripts = self.transcripts.borrow_mut();
        let number = transcripts.len() / 2 + 1;
        transcripts.push((
            format!("machine {number}, stderr"),
            machine.messages().clone(),
        ));
        transcripts.push((
            format!("machine {number}, serial"),
            machine.serial().clone(),
        ));
        Ok(machine)
    }

    /// What all machines of this test have said.
    pub(super) fn log(&self) -> String {
        let transcripts = self.transcripts.borrow();
        transcripts
            .iter()
            .fold(String::new(), |mut log, (title, transcript)| {
                for line in transcript.text().lines() {
                    log.push_str(&format!("{title}: {line}\n"));
                }
                log
            })
    }
}
