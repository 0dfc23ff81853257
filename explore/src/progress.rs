//! What takes long, shown while it does.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

/// The pause between two pictures of the bar.
const TICK: Duration = Duration::from_millis(120);

/// A line on a terminal's standard error that says what goes on; nothing elsewhere.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// An empty line.
    pub fn start() -> Self {
        let bar = ProgressBar::new_spinner().with_finish(indicatif::ProgressFinish::AndClear);
        // Hidden where standard error is no terminal.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says what goes on now.
    pub fn note(&self, line: &str) {
        self.0.set_message(line.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
