//! The log: lines on standard error. Only a thread of the log's own waits for it.
//!
//! A line passes the level ([`level`]) and the rate limit of its source ([`limiter`]) and enters a bounded queue
//! ([`queue`]). The thread `log` ([`writer`]) writes it. A slow or absent reader of standard error delays only that
//! thread. Lines that do not fit are counted, and the count is written in their place.
//!
//! tracing-appender's channel is not used: its thread cannot confine itself first, it does not log its losses, and
//! nothing can be written ahead of a full queue, as the reason for the program's end must be.

mod level;
mod limiter;
mod queue;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use faultvisor_devices::blocking::Blocking;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use level::LevelError;
use limiter::{Limited, Limiter};
use queue::{LineQueue, Weight};

/// How long the end of the program waits for a reader of standard error that takes nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long it waits for a reader that takes something now and then.
const LIMIT: Duration = Duration::from_secs(2);

/// The process's log.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    queue: Arc<LineQueue>,
    limiter: Arc<Limiter>,
    /// The writing thread, once it has been started.
    writer: OnceLock<ThreadId>,
}

impl Log {
    /// Waits until the queue is written, as far as it is read. Without the thread, writes it.
    fn drain(&self) {
        match self.writer.get() {
            Some(writer) if *writer != thread::current().id() => {
                self.queue.drain(PATIENCE, LIMIT);
            }
            _ => {
                while let Some(piece) = self.queue.try_next() {
                    // There is nobody to report it to.
                    let _ = io::stderr().write_all(&piece);
                    self.queue.written(piece.len());
                }
            }
        }
    }
}

/// Begins to log. Lines are queued until [`start_thread`], or until the program's end.
///
/// # Errors
///
/// [`LevelError`] if `FAULTVISOR_LOG` is not a level.
pub fn install() -> Result<(), LevelError> {
    let level = level::from_environment()?;
    let queue = Arc::new(LineQueue::default());
    let limiter = Arc::new(Limiter::new(queue.clone()));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Lines(queue.clone()))
        // Colours on terminals only.
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Fails only if there is a logger already.
    let _ = tracing_subscriber::registry()
        .with(level)
        .with(Limited(limiter.clone()))
        .with(lines)
        .try_init();
    let writer = OnceLock::new();
    let log = Log {
        queue,
        limiter,
        writer,
    };
    if LOG.set(log).is_ok() {
        report_panics();
    }
    Ok(())
}

/// Starts the writing thread, which first calls `first`.
///
/// # Errors
///
/// If the host refuses a thread or a descriptor.
pub fn start_thread(first: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let Some(log) = LOG.get() else { return Ok(()) };
    let sink = File::from(rustix::io::dup(rustix::stdio::stderr())?);
    let thread = thread::Builder::new()
        .name("log".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            first();
            writer::run(&log.queue, &log.limiter, &mut Blocking(sink));
        })?;
    let _ = log.writer.set(thread.thread().id());
    Ok(())
}

/// Logs why the program ends. [`finish`] follows.
pub fn fail(error: &dyn Display) {
    let line = format!("faultvisor: {error}\n");
    match LOG.get() {
        Some(log) => log.queue.push(line.as_bytes(), Weight::Last),
        None => {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// Waits until the queue is written, as far as it is read, for a short time only.
pub fn finish() {
    if let Some(log) = LOG.get() {
        log.limiter.tell_all();
        log.drain();
    }
}

/// Makes a panic log its message and end the program, without waiting long for a reader.
fn report_panics() {
    let direct = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match LOG.get() {
        Some(log) if log.writer.get() != Some(&thread::current().id()) => {
            let thread = thread::current();
            let name = thread.name().unwrap_or("?");
            let line = format!("thread '{name}' {panic}\n");
            log.queue.push(line.as_bytes(), Weight::Last);
            log.drain();
            // Last, as the sandbox may refuse what it needs.
            let trace = Backtrace::capture();
            if trace.status() == BacktraceStatus::Captured {
                log.queue
                    .push(format!("{trace}\n").as_bytes(), Weight::Last);
                log.drain();
            }
            process::abort();
        }
        _ => direct(panic),
    }));
}

/// A line of the log's own, in the format of all others.
fn timed(message: &str) -> String {
    let mut line = String::new();
    let mut writer = Writer::new(&mut line);
    // Without a readable clock the time is left out.
    let _ = SystemTime.format_time(&mut writer);
    format!("{line}  WARN {message}\n")
}

/// Puts lines into the queue.
struct Lines(Arc<LineQueue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes one whole line.
struct Line<'a>(&'a LineQueue);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes, Weight::Ordinary);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::*;

    /// Set for the process that panics.
    const CHILD: &str = "FAULTVISOR_TEST_PANICS";

    /// Runs this test again, in a process that panics while the log is in use.
    fn panicking(messages: impl Into<Stdio>) -> Child {
        let name = "logging::tests::a_panic_is_logged_in_order_within_a_bounded_time";
        Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_panic_is_logged_in_order_within_a_bounded_time() {
        if env::var_os(CHILD).is_some() {
            install().unwrap();
            start_thread(|| ()).unwrap();
            tracing::warn!("before");
            // Nobody receives it this way.
            let _ = thread::spawn(|| panic!("the reason")).join();
            return;
        }
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut child = panicking(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(6));
        let before = text.find("WARN before").unwrap();
        let panic = text.find("panicked at vmm/src/logging/mod.rs").unwrap();
        assert!(
            before < panic && text[panic..].contains("the reason"),
            "{text}"
        );

        // Full, and never read.
        let (_reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let mut filler = File::from(std::os::fd::OwnedFd::from(writer.try_clone().unwrap()));
        while filler.write(b".").is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let started = Instant::now();
        let mut child = panicking(writer);
        assert_eq!(child.wait().unwrap().signal(), Some(6));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_line_about_the_log_looks_like_its_other_lines() {
        let queue = Arc::new(LineQueue::default());
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(Lines(queue.clone()))
            .with_ansi(false)
            .with_target(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || tracing::warn!("text"));
        let line = String::from_utf8(queue.try_next().unwrap()).unwrap();
        let ours = timed("text");
        assert_eq!(line.len(), ours.len());
        assert_eq!(
            line.split_once('Z').unwrap().1,
            ours.split_once('Z').unwrap().1
        );
    }
}
