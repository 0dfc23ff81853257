//! Console output: from a vCPU that must not wait long to a host side that may be slow.
//!
//! The vCPU puts bytes into a bounded buffer. A thread of the console's own writes them to the sink with blocking
//! writes, so that no terminal or pipe is switched to non-blocking mode. A *slow* sink slows the guest down and loses
//! nothing. A sink that takes nothing for [`STALL_LIMIT`], or fails, no longer delays the guest: bytes that do not fit
//! are counted, and the count is written in their place.
//!
//! Writes to a file or a pipe that failed are retried: a full disk may have room again, a FIFO another reader. After a
//! client's failure its output is kept for the next client.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::block::model::errno::Errno;
use crate::sync::{lock, wait, wait_timeout};
use crate::thread::{ThreadKind, ThreadStart};

/// The size of the buffer in bytes. A whole kernel log fits several times.
const CAPACITY: usize = 1 << 20;

/// Output is written in pieces of at least this size, or after [`COALESCE`].
const PIECE: usize = 4096;

/// How long a byte waits for more. Otherwise a guest that prints byte by byte would cost the host a system call and two
/// context switches for each.
const COALESCE: Duration = Duration::from_millis(2);

/// The writer's first pause after a failure. Each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a sink may take nothing before the guest no longer waits for it.
pub const STALL_LIMIT: Duration = Duration::from_secs(1);

/// The vCPU's end of the console. Clones share one buffer.
#[derive(Clone)]
pub struct ConsoleOutput {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when the writer has work: bytes, or a sink.
    work: Condvar,
    /// Signalled when the writer has made progress.
    progress: Condvar,
}

#[derive(Default)]
struct State {
    buffer: VecDeque<u8>,
    /// Bytes that the writer has taken and not yet written.
    writing: usize,
    sink: Option<Sink>,
    /// There is a sink, possibly with the writer.
    attached: bool,
    /// Why the sink took nothing at the last attempt.
    failure: Option<String>,
    /// When a failed sink is tried again.
    retry: Option<Instant>,
    /// The sink took nothing for [`STALL_LIMIT`], and has taken nothing since.
    stalled: bool,
    lost: u64,
    /// Incremented whenever the sink takes something.
    progress: u64,
}

/// The sink.
struct Sink {
    writer: Box<dyn Write + Send>,
    on_failure: OnFailure,
}

/// The response to a failure of the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Detach it, and keep what it did not take for the next: a client.
    Detach,
    /// Try it again: a file, a pipe, a terminal.
    Retry,
}

impl ConsoleOutput {
    /// A console without a sink.
    pub fn null() -> Self {
        Self { shared: None }
    }

    /// A console that keeps its output until a sink is attached, and drops the oldest if the buffer is full. The
    /// writing thread first calls `start`.
    ///
    /// # Errors
    ///
    /// If the host refuses the thread.
    pub fn new(start: ThreadStart) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let writer = shared.clone();
        thread::Builder::new()
            .name("console".into())
            .stack_size(64 << 10)
            .spawn(move || {
                start.begin(ThreadKind::Console);
                writer.run();
            })?;
        Ok(Self {
            shared: Some(shared),
        })
    }

    /// Sends output to `writer`, beginning with what has been kept. Its writes block.
    pub fn attach(&self, writer: Box<dyn Write + Send>, on_failure: OnFailure) {
        if let Some(shared) = &self.shared {
            let mut state = lock(&shared.state);
            state.sink = Some(Sink { writer, on_failure });
            state.attached = true;
            state.stalled = false;
            state.failure = None;
            state.retry = None;
            shared.work.notify_all();
        }
    }

    /// Waits until everything is written, the sink has taken nothing for `patience`, `limit` has passed, or there is no
    /// sink. A failed sink is tried once more.
    pub fn drain(&self, patience: Duration, limit: Duration) {
        let Some(shared) = &self.shared else { return };
        let end = Instant::now() + limit;
        let mut state = lock(&shared.state);
        let mut last = (state.progress, Instant::now());
        let mut may_fail = state.retry.take().is_some();
        while state.attached && state.pending() > 0 {
            let now = Instant::now();
            let until = end.min(last.1 + patience);
            if now >= until || state.retry.is_some() && !may_fail {
                return;
            }
            shared.work.notify_all();
            state = wait_timeout(&shared.progress, state, until - now);
            if state.progress != last.0 {
                last = (state.progress, Instant::now());
                may_fail = false;
            }
        }
    }

    /// The bytes that the attached sink has not taken, lost ones included.
    pub fn pending(&self) -> u64 {
        let Some(shared) = &self.shared else { return 0 };
        let state = lock(&shared.state);
        match state.attached {
            true => state.lost.saturating_add(state.pending() as u64),
            false => 0,
        }
    }

    fn push(&self, bytes: &[u8]) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.state);
        for &byte in bytes {
            state = shared.wait_for_room(state);
            if state.pending() < CAPACITY {
                state.buffer.push_back(byte);
            } else if state.attached {
                state.lost += 1;
            } else if state.buffer.pop_front().is_some() {
                state.buffer.push_back(byte);
            }
        }
        if state.buffer.len() <= bytes.len() || state.buffer.len() == PIECE {
            shared.work.notify_all();
        }
    }
}

/// Accepts every byte, and never fails.
impl Write for ConsoleOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn pending(&self) -> usize {
        self.buffer.len() + self.writing
    }

    /// The sink has failed, and the guest no longer waits for it.
    fn fail(&mut self, error: &io::Error, pause: Duration) {
        self.stalled = true;
        self.retry = Some(Instant::now() + pause);
        self.progress += 1;
        let reason = Errno::of(error).to_string();
        if self.failure.as_ref() != Some(&reason) {
            tracing::warn!("console output cannot be written, and is tried again: {reason}");
            self.failure = Some(reason);
        }
    }

    /// The sink takes bytes. When it has taken most of them, it is sent the count of those it missed.
    fn recover(&mut self) {
        if self.lost > 0 && self.pending() >= CAPACITY / 2 {
            return;
        }
        let reason = self.failure.take();
        if reason.is_some() {
            tracing::warn!(
                "console output is written again; {} bytes were lost",
                self.lost
            );
        }
        if self.lost > 0 {
            let reason = reason.as_deref().unwrap_or("nobody read them");
            let lost = std::mem::take(&mut self.lost);
            let notice =
                format!("\r\n[faultvisor: {lost} bytes of console output lost: {reason}]\r\n");
            self.buffer.extend(notice.as_bytes());
        }
    }
}

impl Shared {
    /// Waits while the buffer is full and the sink, however slowly, takes bytes.
    fn wait_for_room<'a>(
        &self,
        mut state: std::sync::MutexGuard<'a, State>,
    ) -> std::sync::MutexGuard<'a, State> {
        let mut last = None;
        while state.attached && !state.stalled && state.pending() >= CAPACITY {
            let (progress, since) = *last.get_or_insert((state.progress, Instant::now()));
            if state.progress != progress {
                last = None;
            } else if let Some(left) = STALL_LIMIT.checked_sub(since.elapsed()) {
                self.work.notify_all();
                state = wait_timeout(&self.progress, state, left);
            } else {
                state.stalled = true;
            }
        }
        state
    }

    /// The writing thread. It ends with the process, as it may be in a write that never returns.
    fn run(&self) {
        let mut piece = Vec::with_capacity(PIECE);
        let mut pause = PAUSE;
        loop {
            let mut sink = self.next_piece(&mut piece);
            let mut written = 0;
            let mut failure = None;
            while written < piece.len() && failure.is_none() {
                match sink.writer.write(&piece[written..]) {
                    Ok(0) => failure = Some(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        written += count;
                        self.advance(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => failure = Some(error),
                }
            }
            let failure = failure.or_else(|| sink.writer.flush().err());
            pause = match (&failure, sink.on_failure) {
                (Some(_), OnFailure::Retry) => LONGEST_PAUSE.min(pause * 2),
                _ => PAUSE,
            };
            self.give_back(sink, &piece[written..], failure, pause);
        }
    }

    /// Waits for a sink and bytes for it, and takes both.
    fn next_piece(&self, piece: &mut Vec<u8>) -> Sink {
        let mut state = lock(&self.state);
        loop {
            if let Some(retry) = state.retry {
                let left = retry.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    state.retry = None;
                } else {
                    state = wait_timeout(&self.work, state, left);
                }
                continue;
            }
            if state.buffer.is_empty() || state.sink.is_none() {
                state = wait(&self.work, state);
                if state.buffer.len() < PIECE && state.sink.is_some() {
                    state = wait_timeout(&self.work, state, COALESCE);
                }
                continue;
            }
            let Some(sink) = state.sink.take() else {
                continue;
            };
            let count = state.buffer.len().min(PIECE);
            piece.clear();
            piece.extend(state.buffer.drain(..count));
            state.writing = count;
            return sink;
        }
    }

    /// The sink took `count` bytes.
    fn advance(&self, count: usize) {
        let mut state = lock(&self.state);
        state.writing = state.writing.saturating_sub(count);
        state.progress += 1;
        state.stalled = false;
        self.progress.notify_all();
    }

    /// Puts the sink back, or drops it if it failed for good, and keeps what it did not take.
    fn give_back(&self, sink: Sink, unwritten: &[u8], failure: Option<io::Error>, pause: Duration) {
        let mut state = lock(&self.state);
        state.writing = 0;
        for &byte in unwritten.iter().rev() {
            state.buffer.push_front(byte);
        }
        // Unless another one has been attached.
        if state.sink.is_none() {
            match (failure, sink.on_failure) {
                (Some(error), OnFailure::Retry) => {
                    state.fail(&error, pause);
                    state.sink = Some(sink);
                }
                (Some(error), OnFailure::Detach) => {
                    tracing::debug!(%error, "console: the sink is gone");
                    state.attached = false;
                }
                (None, _) => {
                    state.recover();
                    state.sink = Some(sink);
                }
            }
        }
        self.progress.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// A sink that takes what the test permits.
    struct Gate {
        permits: Receiver<usize>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.permits.recv() {
                Ok(0) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
                Ok(permit) => {
                    let count = permit.min(bytes.len());
                    self.taken.lock().unwrap().extend(&bytes[..count]);
                    Ok(count)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (SyncSender<usize>, Arc<Mutex<Vec<u8>>>, Box<Gate>) {
        let (permit, permits) = sync_channel(1 << 16);
        let taken = Arc::new(Mutex::new(Vec::new()));
        let sink = Gate {
            permits,
            taken: taken.clone(),
        };
        (permit, taken, Box::new(sink))
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_slow_sink_loses_nothing() {
        let output = ConsoleOutput::new(ThreadStart::default()).unwrap();
        let (permit, taken, sink) = gate();
        output.attach(sink, OnFailure::Detach);
        let text: Vec<u8> = (0..=250u8).cycle().take(CAPACITY + 10_000).collect();
        let (mut guest, expected) = (output.clone(), text.clone());
        let vcpu = thread::spawn(move || guest.write_all(&text).unwrap());
        while !vcpu.is_finished() {
            // A full channel means that the writer is behind, not stuck.
            let _ = permit.try_send(1 << 20);
        }
        vcpu.join().unwrap();
        for _ in 0..expected.len() / PIECE + 8 {
            let _ = permit.try_send(1 << 20);
        }
        output.drain(PATIENCE, PATIENCE);
        assert!(*taken.lock().unwrap() == expected);
    }

    #[test]
    fn a_sink_that_takes_nothing_does_not_stop_the_guest_and_learns_what_it_missed() {
        let mut output = ConsoleOutput::new(ThreadStart::default()).unwrap();
        let (permit, taken, sink) = gate();
        output.attach(sink, OnFailure::Detach);
        output.write_all(&vec![b'x'; CAPACITY + 100]).unwrap();
        for _ in 0..CAPACITY / PIECE + 100 {
            permit.send(1 << 20).unwrap();
        }
        output.drain(PATIENCE, PATIENCE);
        let taken = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        let (kept, notice) = taken.split_at(CAPACITY);
        assert!(kept.bytes().all(|byte| byte == b'x'));
        assert!(
            notice.contains("100 bytes of console output lost"),
            "{notice}"
        );
    }

    #[test]
    fn output_waits_for_a_sink_and_survives_one_that_breaks() {
        let mut output = ConsoleOutput::new(ThreadStart::default()).unwrap();
        output.write_all(b"before ").unwrap();
        let (permit, first, sink) = gate();
        permit.send(3).unwrap();
        permit.send(0).unwrap();
        output.attach(sink, OnFailure::Detach);
        output.drain(PATIENCE, PATIENCE);
        let (permit, second, sink) = gate();
        permit.send(100).unwrap();
        permit.send(100).unwrap();
        output.attach(sink, OnFailure::Detach);
        output.write_all(b"after").unwrap();
        output.drain(PATIENCE, PATIENCE);
        let whole = [
            first.lock().unwrap().clone(),
            second.lock().unwrap().clone(),
        ]
        .concat();
        assert_eq!(String::from_utf8(whole).unwrap(), "before after");
    }

    #[test]
    fn without_a_sink_the_newest_output_is_kept() {
        let mut output = ConsoleOutput::new(ThreadStart::default()).unwrap();
        output.write_all(&vec![b'o'; CAPACITY]).unwrap();
        output.write_all(b"new").unwrap();
        let state = lock(&output.shared.as_ref().unwrap().state);
        assert_eq!(state.buffer.len(), CAPACITY);
        assert!(state.buffer.iter().rev().take(3).eq(b"wen"));
    }

    #[test]
    fn a_sink_that_may_work_again_is_tried_again_and_loses_nothing_that_fits() {
        let mut output = ConsoleOutput::new(ThreadStart::default()).unwrap();
        let (permit, taken, sink) = gate();
        output.attach(sink, OnFailure::Retry);
        output.write_all(b"before after").unwrap();
        for permits in [7, 0, 0, 100] {
            permit.send(permits).unwrap();
        }
        while output.pending() > 0 {
            output.drain(PATIENCE, PATIENCE);
        }
        assert_eq!(*taken.lock().unwrap(), b"before after");
    }

    #[test]
    fn a_sink_that_fails_holds_up_neither_the_guest_nor_the_end_and_learns_why_it_missed_something()
    {
        let mut output = ConsoleOutput::new(ThreadStart::default()).unwrap();
        let (permit, taken, sink) = gate();
        output.attach(sink, OnFailure::Retry);
        output.write_all(b"first").unwrap();
        permit.send(0).unwrap();
        let shared = output.shared.clone().unwrap();
        while !lock(&shared.state).stalled {
            thread::yield_now();
        }
        let started = Instant::now();
        output.write_all(&vec![b'x'; CAPACITY]).unwrap();
        assert!(started.elapsed() < STALL_LIMIT, "the guest has waited");
        // Each attempt fails, and the end waits for one of them only.
        for _ in 0..2 {
            permit.send(0).unwrap();
        }
        output.drain(PATIENCE, PATIENCE);
        assert_eq!(output.pending(), 5 + CAPACITY as u64);
        for _ in 0..CAPACITY / PIECE + 100 {
            permit.send(1 << 20).unwrap();
        }
        while output.pending() > 0 {
            output.drain(PATIENCE, PATIENCE);
        }
        let taken = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        let notice = "\r\n[faultvisor: 5 bytes of console output lost: Input/output error]\r\n";
        assert!(taken.starts_with("firstx"), "{}", &taken[..100]);
        assert!(taken.ends_with(notice), "{}", &taken[taken.len() - 100..]);
        assert_eq!(taken.len(), CAPACITY + notice.len());
    }
}
