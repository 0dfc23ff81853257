//! A terminal for a program, whose other end the test types on and reads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Instant;

use faultvisor_harness::transcript::Transcript;
use faultvisor_tests::bare::SOON;
use faultvisor_tests::suite::Failure;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal, open at both ends.
pub struct Pty {
    keyboard: File,
    /// The terminal's output, line by line.
    pub screen: Transcript,
    /// The program's end, kept open so that the terminal stays.
    pub terminal: OwnedFd,
}

impl Pty {
    /// A new terminal in the usual mode.
    pub fn open() -> Result<Self, Failure> {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&control)?;
        unlockpt(&control)?;
        let name = ptsname(&control, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty())?;
        let keyboard = File::from(control);
        Ok(Self {
            screen: Transcript::record(Screen(keyboard.try_clone()?))?,
            keyboard,
            terminal,
        })
    }

    /// Makes this terminal a program's input and output.
    pub fn give(&self, command: &mut Command) -> Result<(), Failure> {
        command.stdin(Stdio::from(self.terminal.try_clone()?));
        command.stdout(Stdio::from(self.terminal.try_clone()?));
        Ok(())
    }

    /// Waits until a line of output contains `text`.
    pub fn sees(&self, text: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + SOON;
        let found = self.screen.find(0, deadline, |line| line.contains(text));
        found.map_err(|why| Failure::new(format!("no '{text}' on the terminal: {why}")))?;
        Ok(())
    }

    /// Types text.
    pub fn types(&mut self, keys: &str) -> Result<(), Failure> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }
}

struct Screen(File);

impl Read for Screen {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
