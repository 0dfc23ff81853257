//! The lines to be written on standard error: whole, in order, and bounded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use faultvisor_devices::sync::{lock, wait, wait_timeout};

use super::timed;

/// The size of the queue in bytes.
const CAPACITY: usize = 256 << 10;

/// The cost of a line beside its bytes.
const OVERHEAD: usize = 64;

/// The longest line in bytes. A longer one is cut.
const LONGEST: usize = 16 << 10;

/// A pipe's atomic write (`PIPE_BUF`), so that other processes' lines do not interleave.
const PIECE: usize = 4096;

/// Whether a line may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Without room it is counted instead.
    Ordinary,
    /// The reason for the program's end: there is always room for it.
    Last,
}

/// The queue between all threads and the writer.
#[derive(Debug, Default)]
pub(super) struct LineQueue {
    state: Mutex<State>,
    /// Signalled when the writer has work.
    work: Condvar,
    /// Signalled when the writer has made progress, or failed.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// The cost of the lines.
    size: usize,
    /// Lines that did not fit and have not been reported.
    lost: u64,
    /// Bytes that the writer has taken and not yet written.
    writing: usize,
    /// When the writer is to run the alarm.
    alarm: Option<Instant>,
    /// The last write has failed.
    is_failing: bool,
    /// A thread waits for the queue to be written.
    is_urgent: bool,
    /// Incremented with each progress of the writer.
    progress: u64,
}

/// The writer's next action.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Write these bytes, whole lines.
    Write(Vec<u8>),
    /// Run the alarm.
    Alarm,
}

impl LineQueue {
    /// Queues a line, with its end, or counts it. Does not block.
    pub(super) fn push(&self, line: &[u8], weight: Weight) {
        let mut state = lock(&self.state);
        if weight == Weight::Ordinary && !state.has_room(line.len()) {
            state.lost = state.lost.saturating_add(1);
            return;
        }
        state.tell_of_losses();
        state.add(line);
        drop(state);
        self.work.notify_one();
    }

    /// Wakes the writer at this time, unless it is to be woken earlier.
    pub(super) fn set_alarm(&self, at: Instant) {
        let mut state = lock(&self.state);
        state.alarm = Some(state.alarm.map_or(at, |earlier| earlier.min(at)));
        drop(state);
        self.work.notify_one();
    }

    /// Waits for work, and takes it.
    pub(super) fn next(&self) -> Work {
        let mut state = lock(&self.state);
        loop {
            let left = state
                .alarm
                .map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                state.alarm = None;
                return Work::Alarm;
            }
            if let Some(piece) = state.take() {
                return Work::Write(piece);
            }
            state = match left {
                Some(left) => wait_timeout(&self.work, state, left),
                None => wait(&self.work, state),
            };
        }
    }

    /// Takes work without waiting.
    pub(super) fn try_next(&self) -> Option<Vec<u8>> {
        lock(&self.state).take()
    }

    /// The writer has written this many bytes of what it took.
    pub(super) fn written(&self, count: usize) {
        let mut state = lock(&self.state);
        state.writing = state.writing.saturating_sub(count);
        state.is_failing = false;
        state.progress += 1;
        self.progress.notify_all();
    }

    /// A write has failed; the writer retries after `pause`, or when a thread waits for it.
    pub(super) fn failed(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = lock(&self.state);
        state.is_failing = true;
        state.progress += 1;
        self.progress.notify_all();
        while !std::mem::take(&mut state.is_urgent) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = wait_timeout(&self.work, state, left);
        }
    }

    /// Waits until everything is written, there was no progress for `patience`, `limit` has passed, or a write has
    /// failed again.
    pub(super) fn drain(&self, patience: Duration, limit: Duration) {
        let end = Instant::now() + limit;
        let mut state = lock(&self.state);
        let had_failed = state.is_failing;
        state.is_urgent = had_failed;
        let first = state.progress;
        let mut last = (first, Instant::now());
        while state.has_more() {
            let now = Instant::now();
            let until = end.min(last.1 + patience);
            let has_failed = state.is_failing && (!had_failed || state.progress > first);
            if has_failed || now >= until {
                return;
            }
            self.work.notify_one();
            state = wait_timeout(&self.progress, state, until - now);
            if state.progress != last.0 {
                last = (state.progress, Instant::now());
            }
        }
    }
}

impl State {
    fn has_room(&self, length: usize) -> bool {
        self.size + length.min(LONGEST) + OVERHEAD <= CAPACITY
    }

    fn has_more(&self) -> bool {
        self.writing > 0 || !self.lines.is_empty() || self.lost > 0
    }

    fn add(&mut self, line: &[u8]) {
        let mut kept = line[..line.len().min(LONGEST)].to_vec();
        if kept.len() < line.len()
            && let Some(end) = kept.last_mut()
        {
            *end = b'\n';
        }
        self.size += kept.len() + OVERHEAD;
        self.lines.push_back(kept);
    }

    /// Inserts a line in the place of the dropped ones.
    fn tell_of_losses(&mut self) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.add(
                timed(&format!(
                    "{lost} lines of the log were lost here: nobody read them"
                ))
                .as_bytes(),
            );
        }
    }

    /// The lines that make a piece, at least one if there is any.
    fn take(&mut self) -> Option<Vec<u8>> {
        if self.lines.is_empty() {
            self.tell_of_losses();
        }
        let mut piece = self.lines.pop_front()?;
        self.size -= piece.len() + OVERHEAD;
        while let Some(next) = self.lines.front()
            && piece.len() + next.len() <= PIECE
            && let Some(line) = self.lines.pop_front()
        {
            self.size -= line.len() + OVERHEAD;
            piece.extend(line);
        }
        self.writing = piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything(queue: &LineQueue) -> String {
        let mut text = Vec::new();
        while let Some(piece) = queue.try_next() {
            assert!(piece.ends_with(b"\n"));
            queue.written(piece.len());
            text.extend(piece);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_where_they_would_have_stood() {
        let queue = LineQueue::default();
        let line = [&[b'x'; 935][..], b"\n"].concat();
        let fit = CAPACITY / 1000;
        for _ in 0..fit + 17 {
            queue.push(&line, Weight::Ordinary);
        }
        let first = queue.try_next().unwrap();
        assert!(first.len() <= PIECE);
        queue.push(b"after\n", Weight::Ordinary);
        let text = everything(&queue);
        let lines: Vec<_> = text.lines().collect();
        let told = "17 lines of the log were lost here: nobody read them";
        assert!(lines[lines.len() - 2].ends_with(told), "{text}");
        assert_eq!(lines.last(), Some(&"after"));
        assert_eq!(first.len() / line.len() + lines.len() - 2, fit);
    }

    #[test]
    fn losses_are_reported_though_nothing_follows() {
        let queue = LineQueue::default();
        for _ in 0..CAPACITY {
            queue.push(b"\n", Weight::Ordinary);
        }
        let text = everything(&queue);
        let fit = CAPACITY / (OVERHEAD + 1);
        let told = format!(
            "{} lines of the log were lost here: nobody read them\n",
            CAPACITY - fit
        );
        assert!(text.ends_with(&told), "{}", &text[text.len() - 200..]);
        assert_eq!(everything(&queue), "");
    }

    #[test]
    fn there_is_always_room_for_why_the_program_ends() {
        let queue = LineQueue::default();
        for _ in 0..CAPACITY {
            queue.push(b"\n", Weight::Ordinary);
        }
        queue.push(b"the end\n", Weight::Last);
        assert!(everything(&queue).ends_with("the end\n"));
    }

    #[test]
    fn a_line_of_any_length_is_cut_and_still_a_line() {
        let queue = LineQueue::default();
        queue.push(&[b'x'; 10 * LONGEST], Weight::Ordinary);
        assert_eq!(everything(&queue).len(), LONGEST);
    }

    #[test]
    fn a_wait_for_a_stuck_writer_is_bounded() {
        let queue = LineQueue::default();
        queue.push(b"line\n", Weight::Ordinary);
        assert!(queue.try_next().is_some());
        queue.drain(Duration::from_millis(1), Duration::from_secs(3600));
        queue.drain(Duration::from_secs(3600), Duration::from_millis(1));
        queue.written(5);
        queue.drain(Duration::from_secs(3600), Duration::from_secs(3600));
    }

    #[test]
    fn a_drain_makes_a_failing_writer_retry_once() {
        let queue = LineQueue::default();
        queue.push(b"line\n", Weight::Ordinary);
        assert!(queue.try_next().is_some());
        let hour = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                queue.failed(hour);
                queue.failed(Duration::ZERO);
            });
            while !lock(&queue.state).is_failing {
                std::thread::yield_now();
            }
            queue.drain(hour, hour);
            writer.join().unwrap();
        });
    }

    #[test]
    fn an_alarm_wakes_the_writer_at_its_time_and_the_earliest_counts() {
        let queue = LineQueue::default();
        let now = Instant::now();
        queue.set_alarm(now + Duration::from_secs(3600));
        queue.set_alarm(now + Duration::from_millis(1));
        queue.set_alarm(now + Duration::from_secs(3600));
        assert_eq!(queue.next(), Work::Alarm);
        assert!(now.elapsed() >= Duration::from_millis(1));
    }
}
