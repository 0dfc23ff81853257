//! The monitor's thread: its loop, its listeners, and the state that they share.
//!
//! [`reactor`] waits and dispatches, [`listener`] accepts clients, [`state`] holds sessions and connections. [`waiting`] holds
//! the start of the machine back for the first client (`wait=on`).

pub(crate) mod listener;
pub(crate) mod reactor;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod waiting;
