//! Delivery of events: the connections to signals, and the output queued for each session.
//!
//! The [`registry`] holds the connections, [`rendering`] writes an event for one of them, and the session's [`output`] queues
//! it or counts it as lost. [`throttle`] limits the rate of default events; [`standing`] keeps what is replayed to late
//! subscribers.

pub(crate) mod output;
pub(crate) mod registry;
pub(crate) mod rendering;
pub(crate) mod standing;
pub(crate) mod throttle;
