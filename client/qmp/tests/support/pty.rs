//! A pseudo-terminal for the program.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;

#[derive(Default)]
struct Screen {
    text: Mutex<String>,
    more: Condvar,
}

/// A pseudo-terminal, with both ends open.
pub struct Pty {
    keyboard: File,
    terminal: File,
    screen: Arc<Screen>,
    /// How much of the output was searched.
    seen: usize,
}

impl Pty {
    pub fn open() -> Self {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&control).unwrap();
        unlockpt(&control).unwrap();
        let name = ptsname(&control, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        let size = Winsize {
            ws_row: 40,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let screen = Arc::new(Screen::default());
        let keyboard = File::from(control);
        let mut output = keyboard.try_clone().unwrap();
        let written = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                written.text.lock().unwrap().push_str(&text);
                written.more.notify_all();
            }
        });
        Self {
            keyboard,
            terminal,
            screen,
            seen: 0,
        }
    }

    /// Makes it a program's terminal.
    pub fn give(&self, command: &mut Command) {
        let terminal = || Stdio::from(self.terminal.try_clone().unwrap());
        command
            .env("TERM", "xterm")
            .stdin(terminal())
            .stdout(terminal())
            .stderr(terminal());
    }

    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is written, after the text that was waited for before.
    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.screen.text.lock().unwrap();
        loop {
            if let Some(place) = written[self.seen..].find(text) {
                self.seen += place + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no {text:?} in {:?}",
                &written[self.seen..]
            );
            written = self.screen.more.wait_timeout(written, left).unwrap().0;
        }
    }

    /// All output so far.
    pub fn text(&self) -> String {
        self.screen.text.lock().unwrap().clone()
    }

    /// Whether the terminal is in its initial mode: line by line, with echo.
    pub fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}
