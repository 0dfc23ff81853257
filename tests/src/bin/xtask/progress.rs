//! Shows what is running, and for how long: in a terminal's last line, or in a log's line every half minute.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Redraw interval on a terminal.
const ON_TERMINAL: Duration = Duration::from_secs(1);
/// Interval of a log's status lines.
const IN_LOG: Duration = Duration::from_secs(30);
/// Erases the cursor's line (ECMA-48), and returns to its beginning.
const ERASE: &str = "\r\x1b[2K";
/// Default number of columns.
const COLUMNS: usize = 80;

static STATUS: Mutex<Status> = Mutex::new(Status::new());

fn status() -> MutexGuard<'static, Status> {
    STATUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Running work, in order of start.
struct Status {
    running: BTreeMap<u64, Work>,
    next: u64,
    /// Set on a terminal while a [`Display`] exists.
    is_drawn: bool,
}

struct Work {
    name: String,
    since: Instant,
    /// The part in progress, and its start.
    part: Option<(String, Instant)>,
}

impl Status {
    const fn new() -> Self {
        Self {
            running: BTreeMap::new(),
            next: 0,
            is_drawn: false,
        }
    }

    fn text(&self, now: Instant) -> String {
        let mut text = String::new();
        for work in self.running.values() {
            let mark = if text.is_empty() { "" } else { " · " };
            let seconds = (now - work.since).as_secs();
            // Writing to a string cannot fail.
            let _ = write!(text, "{mark}{} {seconds} s", work.name);
            if let Some((part, since)) = &work.part {
                let seconds = (now - *since).as_secs();
                let _ = write!(text, " ({part} {seconds} s)");
            }
        }
        text
    }

    fn draw(&self, to: &mut dyn Write) {
        if self.is_drawn {
            let text = self.text(Instant::now());
            // Keep one column free: some terminals wrap at the last one.
            let text: String = text.chars().take(columns().saturating_sub(1)).collect();
            let _ = write!(to, "{ERASE}{text}");
            let _ = to.flush();
        }
    }
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS } else { columns }
}

/// Writes lines without mixing them with a terminal's status line.
pub fn above_status(print: impl FnOnce(&mut dyn Write)) {
    let status = status();
    let mut to = io::stdout().lock();
    if status.is_drawn {
        let _ = write!(to, "{ERASE}");
    }
    print(&mut to);
    status.draw(&mut to);
}

/// Whether a status line is drawn.
pub fn is_drawn() -> bool {
    status().is_drawn
}

/// Work in progress, until dropped.
#[derive(Debug)]
pub struct Running(u64);

impl Running {
    /// Starts the work.
    pub fn new(name: &str) -> Self {
        let mut status = status();
        let number = status.next;
        status.next += 1;
        let work = Work {
            name: name.to_owned(),
            since: Instant::now(),
            part: None,
        };
        status.running.insert(number, work);
        Self(number)
    }

    /// Starts a part of it, and ends the previous one.
    pub fn part(&self, part: &str) {
        if let Some(work) = status().running.get_mut(&self.0) {
            work.part = Some((part.to_owned(), Instant::now()));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        status().running.remove(&self.0);
    }
}

/// Shows what is running, until dropped.
pub struct Display {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts showing.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let is_terminal = io::stdout().is_terminal();
        status().is_drawn = is_terminal;
        let (end, ended) = mpsc::channel();
        let interval = if is_terminal { ON_TERMINAL } else { IN_LOG };
        let show = move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let status = status();
                let mut to = io::stdout().lock();
                if is_terminal {
                    status.draw(&mut to);
                } else {
                    let text = status.text(Instant::now());
                    let _ = writeln!(to, "   … {text}");
                }
            }
        };
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(show)?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
        let mut status = status();
        if status.is_drawn {
            let _ = write!(io::stdout(), "{ERASE}");
        }
        status.is_drawn = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_work_is_shown_with_its_parts_in_order_of_start() {
        let start = Instant::now();
        let mut status = Status::new();
        let work = |name: &str, part: Option<(String, Instant)>| Work {
            name: name.to_owned(),
            since: start,
            part,
        };
        let at = |seconds| start + Duration::from_secs(seconds);
        status
            .running
            .insert(1, work("lab", Some(("fio".to_owned(), at(5)))));
        status.running.insert(0, work("clippy", None));
        assert_eq!(status.text(at(7)), "clippy 7 s · lab 7 s (fio 2 s)");
        status.running.clear();
        assert_eq!(status.text(at(7)), "");
    }

    #[test]
    fn ended_work_is_not_shown() {
        let name = "work of this test";
        let work = Running::new(name);
        work.part("its part");
        let told = || super::status().text(Instant::now());
        assert!(told().contains("work of this test 0 s (its part 0 s)"));
        drop(work);
        assert!(!told().contains(name));
    }
}
