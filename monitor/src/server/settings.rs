//! The limits of a monitor.

use std::time::Duration;

/// The limits of a monitor.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) session_limit: usize,
    pub(crate) output_limit: usize,
    pub(crate) total_output_limit: usize,
    pub(crate) event_limit: usize,
    pub(crate) default_event_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_limit: 64,
            output_limit: 4 * 1024 * 1024,
            total_output_limit: 32 * 1024 * 1024,
            event_limit: 64 * 1024,
            default_event_interval: Duration::from_secs(1),
        }
    }
}
