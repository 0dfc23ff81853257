//! The rate limit of a source of lines.
//!
//! A client or a guest can cause any number of lines. A source is a place in the code and a thread, so that the
//! complaints of one disk do not hide those of another.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use faultvisor_devices::sync::lock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, callsite::Identifier};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::{LineQueue, Weight};
use super::timed;

/// The length of a source's window.
const WINDOW: Duration = Duration::from_secs(10);

/// The number of warnings or errors of a source in a window.
const BURST: u64 = 10;

/// The number of other lines: who enables them wants to see them.
const DETAILED_BURST: u64 = 1000;

/// The length of the line quoted in a notice about suppressed lines, in characters.
const EXCERPT: usize = 160;

/// A source of lines.
type Source = (Identifier, Option<String>);

/// Passes each source's lines within its limit, counts the rest, and reports the count when the window ends.
pub(super) struct Limiter {
    queue: Arc<LineQueue>,
    windows: Mutex<HashMap<Source, Window>>,
}

/// A source's window.
#[derive(Debug)]
struct Window {
    begun: Instant,
    /// The limit of lines.
    burst: u64,
    /// All lines, written or suppressed.
    lines: u64,
    /// The first suppressed line.
    example: String,
}

impl Window {
    fn new(begun: Instant, burst: u64) -> Self {
        Self {
            begun,
            burst,
            lines: 0,
            example: String::new(),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) >= WINDOW
    }

    /// The notice about suppressed lines, if there are any.
    fn notice(&self) -> Option<String> {
        let left_out = self.lines.saturating_sub(self.burst);
        (left_out > 0).then(|| {
            let seconds = WINDOW.as_secs();
            timed(&format!(
                "{left_out} more like this within {seconds} s: {}",
                self.example
            ))
        })
    }
}

impl Limiter {
    pub(super) fn new(queue: Arc<LineQueue>) -> Self {
        let windows = Mutex::default();
        Self { queue, windows }
    }

    /// Whether a line may be written, of a source with a limit of `burst`.
    fn admit(
        &self,
        source: Source,
        burst: u64,
        message: impl FnOnce() -> String,
        now: Instant,
    ) -> bool {
        let mut windows = lock(&self.windows);
        let window = windows
            .entry(source)
            .or_insert_with(|| Window::new(now, burst));
        if window.is_over(now) {
            if let Some(notice) = window.notice() {
                self.queue.push(notice.as_bytes(), Weight::Ordinary);
            }
            *window = Window::new(now, burst);
        }
        window.lines = window.lines.saturating_add(1);
        if window.lines == burst + 1 {
            window.example = message();
            self.queue.set_alarm(window.begun + WINDOW);
        }
        window.lines <= burst
    }

    /// Reports what was suppressed in windows that have ended, and forgets these. Asks to be called again for others.
    pub(super) fn tell(&self, now: Instant) {
        lock(&self.windows).retain(|_, window| {
            if !window.is_over(now) {
                if window.lines > window.burst {
                    self.queue.set_alarm(window.begun + WINDOW);
                }
                return true;
            }
            if let Some(notice) = window.notice() {
                self.queue.push(notice.as_bytes(), Weight::Ordinary);
            }
            false
        });
    }

    /// Reports everything that was suppressed, at the end.
    pub(super) fn tell_all(&self) {
        for window in std::mem::take(&mut *lock(&self.windows)).values() {
            if let Some(notice) = window.notice() {
                self.queue.push(notice.as_bytes(), Weight::Ordinary);
            }
        }
    }
}

/// The limiter as a layer of a subscriber.
pub(super) struct Limited(pub Arc<Limiter>);

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let thread = thread::current().name().map(str::to_owned);
        let source = (event.metadata().callsite(), thread);
        let message = || {
            let mut excerpt = Excerpt::default();
            event.record(&mut excerpt);
            excerpt.0
        };
        let burst = if *event.metadata().level() <= Level::WARN {
            BURST
        } else {
            DETAILED_BURST
        };
        self.0.admit(source, burst, message, Instant::now())
    }
}

/// The beginning of a line's message.
#[derive(Debug, Default)]
struct Excerpt(String);

impl Visit for Excerpt {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // What does not fit is dropped.
            let _ = write!(self, "{value:?}");
        }
    }
}

impl Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = EXCERPT.saturating_sub(self.0.chars().count());
        self.0.extend(text.chars().take(room));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::logging::queue::Work;

    fn limited() -> (Arc<LineQueue>, Arc<Limiter>) {
        let queue = Arc::new(LineQueue::default());
        let limiter = Arc::new(Limiter::new(queue.clone()));
        (queue, limiter)
    }

    fn said(queue: &LineQueue) -> String {
        let mut text = Vec::new();
        while let Some(piece) = queue.try_next() {
            text.extend(piece);
        }
        String::from_utf8(text).unwrap()
    }

    /// A subscriber that counts the lines that pass the limiter.
    struct Counter(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Counter {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut excerpt = Excerpt::default();
            event.record(&mut excerpt);
            lock(&self.0).push(excerpt.0);
        }
    }

    #[test]
    fn a_source_writes_a_burst_and_the_rest_is_counted_and_reported() {
        let (queue, limiter) = limited();
        let written = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry()
            .with(Limited(limiter.clone()))
            .with(Counter(written.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..900 {
                tracing::warn!("a client did something: {number}");
                if number < 2 {
                    tracing::error!("something else");
                }
                tracing::info!("a detail");
            }
        });
        let written = lock(&written).clone();
        let about = |text: &str| written.iter().filter(|line| line.contains(text)).count();
        assert_eq!(about("a client did something"), 10);
        assert_eq!(about("something else"), 2);
        assert_eq!(about("a detail"), 900);
        assert_eq!(said(&queue), "");
        limiter.tell(Instant::now() + WINDOW);
        let said = said(&queue);
        assert!(
            said.ends_with("890 more like this within 10 s: a client did something: 10\n"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1);
        assert!(lock(&limiter.windows).is_empty());
    }

    fn source(name: &str) -> Source {
        // Any callsite.
        static CALLSITE: tracing::callsite::DefaultCallsite =
            tracing::callsite::DefaultCallsite::new(&METADATA);
        static METADATA: tracing::Metadata<'static> = tracing::metadata! {
            name: "test",
            target: "test",
            level: tracing::Level::WARN,
            fields: &[],
            callsite: &CALLSITE,
            kind: tracing::metadata::Kind::EVENT,
        };
        (METADATA.callsite(), Some(name.to_owned()))
    }

    #[test]
    fn a_noisy_thread_hides_no_other_and_may_write_again_later() {
        let (queue, limiter) = limited();
        let now = Instant::now();
        let admitted = |name: &str, now| {
            (0..20)
                .filter(|_| limiter.admit(source(name), BURST, || name.to_owned(), now))
                .count()
        };
        assert_eq!(admitted("disk-a", now), 10);
        assert_eq!(admitted("disk-b", now), 10);
        assert_eq!(admitted("disk-a", now + WINDOW), 10);
        // The window that has ended is reported before the lines that follow it.
        assert!(said(&queue).ends_with("10 more like this within 10 s: disk-a\n"));
        limiter.tell_all();
        assert_eq!(said(&queue).lines().count(), 2);
    }

    #[test]
    fn the_writer_wakes_to_report_suppressed_lines() {
        let (queue, limiter) = limited();
        let long_ago = Instant::now().checked_sub(WINDOW).unwrap();
        for _ in 0..=BURST {
            limiter.admit(source("monitor"), BURST, || "text".to_owned(), long_ago);
        }
        assert_eq!(queue.next(), Work::Alarm);
        limiter.tell(Instant::now());
        let Work::Write(line) = queue.next() else {
            panic!("nothing is told");
        };
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains("1 more like this"), "{line}");
    }

    #[test]
    fn the_beginning_of_a_line_is_quoted() {
        let mut excerpt = Excerpt::default();
        write!(excerpt, "a{}", "é".repeat(400)).unwrap();
        assert_eq!(excerpt.0, format!("a{}", "é".repeat(EXCERPT - 1)));
    }
}
