//! When a program is to be killed, and by when it must have ended since.

use std::time::{Duration, Instant};

/// How long a killed program may take to end: one in uninterruptible sleep does not.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// The deadlines of a run.
#[derive(Debug)]
pub struct Deadlines {
    /// The time limit, until the program is killed.
    limit: Option<Instant>,
    /// Whether it was the time limit that killed.
    timed_out: bool,
    /// By when the killed program must have ended, until a client is told that it has not.
    overdue: Option<Instant>,
}

impl Deadlines {
    /// Those of a program with a time limit in milliseconds; a limit beyond what the clock counts is none.
    pub fn new(started: Instant, limit_ms: Option<u64>) -> Self {
        let limit = limit_ms.map(Duration::from_millis);
        Self {
            limit: limit.and_then(|limit| started.checked_add(limit)),
            timed_out: false,
            overdue: None,
        }
    }

    /// The time limit, unless the program was killed.
    pub fn limit(&self) -> Option<Instant> {
        self.limit
    }

    /// By when the killed program must have ended; `None` if it was not killed, or a client knows that it has not.
    pub fn overdue(&self) -> Option<Instant> {
        self.overdue
    }

    /// Whether the time limit killed the program.
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// The program was killed by request: its time limit means nothing any more.
    pub fn kill_requested(&mut self, at: Instant) {
        self.limit = None;
        self.expect_end(at);
    }

    /// Whether the time limit passes now, and the program is to be killed. Says so once.
    pub fn pass_limit(&mut self, now: Instant) -> bool {
        if self.limit.take_if(|limit| *limit <= now).is_none() {
            return false;
        }
        self.timed_out = true;
        self.expect_end(now);
        true
    }

    /// Whether the program should have ended, and no client knows that it has not.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.overdue.is_some_and(|by| by <= now)
    }

    /// A client was told: others wait for the end itself, until the program is killed again.
    pub fn overdue_told(&mut self) {
        self.overdue = None;
    }

    /// A second kill does not put the first one's deadline off.
    fn expect_end(&mut self, killed: Instant) {
        self.overdue.get_or_insert(killed + KILLED_WITHIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_program_killed_by_request_is_overdue_without_having_timed_out() {
        let start = Instant::now();
        for limit_ms in [None, Some(2000)] {
            let mut deadlines = Deadlines::new(start, limit_ms);
            deadlines.kill_requested(start + SECOND);
            assert!(!deadlines.pass_limit(start + 3 * SECOND));
            assert!(!deadlines.is_overdue(start + 5 * SECOND));
            // Another kill does not put it off.
            deadlines.kill_requested(start + 5 * SECOND);
            assert!(deadlines.is_overdue(start + 6 * SECOND));
            assert!(!deadlines.timed_out());
        }
    }

    #[test]
    fn a_time_limit_kills_once_and_the_program_is_overdue_afterwards() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, Some(1000));
        assert!(!deadlines.pass_limit(start));
        assert!(deadlines.pass_limit(start + SECOND));
        assert!(!deadlines.pass_limit(start + 2 * SECOND));
        assert!(!deadlines.is_overdue(start + 5 * SECOND));
        assert!(deadlines.is_overdue(start + 6 * SECOND));
        assert!(deadlines.timed_out());
    }

    #[test]
    fn a_client_that_was_told_waits_until_another_kill() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, None);
        deadlines.kill_requested(start);
        deadlines.overdue_told();
        assert!(!deadlines.is_overdue(start + 60 * SECOND));
        deadlines.kill_requested(start + 60 * SECOND);
        assert!(deadlines.is_overdue(start + 65 * SECOND));
    }
}
