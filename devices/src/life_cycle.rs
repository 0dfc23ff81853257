//! The life cycle of a machine's parts: the operations on each of them, for the code that sequences the
//! machine.
//!
//! ```text
//!             resume(run)             close
//!   paused ───────────────▶ running ───────▶ closed
//!     ▲ │ ▲ reset, restore     │
//!     │ └─┘                    │ pause
//!     └── quiesced ◀── drains ─┘
//! ```
//!
//! A part begins paused. [`LifeCycle::save`] and [`LifeCycle::restore`] need it paused and quiesced, so that its state is
//! complete: nothing of it is in flight on the host.

use std::io;
use std::ops::Range;

use acpi_tables::AmlSink;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Reports the end of a step. Runs on any thread, at most once, and must neither block nor fail: the waiter allocates
/// what it needs before the step begins. Dropped instead of called where the part has ended.
pub type Done = Box<dyn FnOnce() + Send>;

/// Counts how often the machine was continued. The request of an earlier run's error is being retried already: it
/// neither sets the io-status nor stops the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Run(pub u64);

/// What a guest can observe of one part, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(Value);

impl State {
    /// Encodes a part's own structure.
    ///
    /// # Errors
    ///
    /// [`SaveError::Encoding`] for what JSON cannot represent, such as a map with keys that are not
    /// strings.
    pub fn of(structure: &impl Serialize) -> Result<Self, SaveError> {
        Ok(Self(serde_json::to_value(structure)?))
    }

    /// Decodes a part's own structure, which denies unknown fields.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Malformed`] when the state is not that of such a part.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, RestoreError> {
        // serde also decodes a structure from an array of its members.
        if !self.0.is_object() {
            let error = <serde_json::Error as serde::de::Error>::custom("it is not an object");
            return Err(RestoreError::Malformed(error));
        }
        Ok(T::deserialize(&self.0)?)
    }

    /// As [`State::decode`], for a structure with a member `version`, which is checked first.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Version`] for another version, whatever else the state has.
    pub fn decode_version<T: DeserializeOwned>(&self, own: u32) -> Result<T, RestoreError> {
        match self.0.get("version").and_then(Value::as_u64) {
            Some(saved) if saved != u64::from(own) => Err(RestoreError::Version { saved, own }),
            _ => self.decode(),
        }
    }
}

/// The state of a part that has none: an empty object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stateless {}

/// Why a part cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// It is not paused, or has requests in flight.
    #[error("it is not quiesced")]
    Busy,
    /// Its thread has ended.
    #[error("its thread has ended")]
    Ended,
    /// JSON cannot represent its structure.
    #[error("its state cannot be encoded: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// Why a part refuses a state. Its own state is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not paused, or has requests in flight.
    #[error("it is not quiesced")]
    Busy,
    /// Its thread has ended.
    #[error("its thread has ended")]
    Ended,
    /// The host refused what the part needs.
    #[error("the host refuses: {0}")]
    Host(#[from] io::Error),
    /// A member is missing, unknown, or of another type.
    #[error("its state is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A member has an impossible value.
    #[error("its state has {member} = {value}, which is out of range")]
    OutOfRange {
        /// The member's name.
        member: &'static str,
        /// Its value.
        value: u64,
    },
    /// Two of its entries have a value that only one can have.
    #[error("its state has {member} = {value} twice")]
    Duplicate {
        /// The member's name.
        member: &'static str,
        /// Its value.
        value: u64,
    },
    /// The state has another format than the program writes.
    #[error("its state has version {saved}, and the program reads {own}")]
    Version {
        /// As it was saved.
        saved: u64,
        /// As the program writes it.
        own: u32,
    },
    /// A member is not valid by itself.
    #[error("its state has invalid {member}: {source}")]
    Invalid {
        /// The member's name.
        member: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state is that of a part which is configured differently.
    #[error("its state was saved with {what} {saved}, and the part has {own}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// As it was saved.
        saved: String,
        /// As it is.
        own: String,
    },
}

/// A part's place in the machine. The part itself knows no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its number among the parts of its kind, from 0: the `_UID` of its ACPI device.
    pub instance: u16,
    /// Its addresses, of ports or of memory-mapped registers; empty for a part that has none.
    pub range: Range<u64>,
    /// Its input of the I/O APIC, if it has an interrupt.
    pub interrupt: Option<u32>,
}

/// A part of the machine.
///
/// No vCPU accesses a part while it is asked for a reset, its state, or the restoring of it.
pub trait LifeCycle: Send + Sync {
    /// Stops serving the guest, and calls `done` when nothing is in flight. A part that only answers accesses of vCPUs is
    /// paused with them.
    fn pause(&self, done: Done) {
        done();
    }

    /// Serves the guest again, in this run.
    fn resume(&self, _run: Run) {}

    /// Returns to the state after power-on, and calls `done` when that is reached.
    fn reset(&self, done: Done);

    /// Releases the part's host resources (threads, requests in flight), and calls `done` at the end.
    fn close(&self, done: Done) {
        done();
    }

    /// Its state that the guest can observe, and what it needs to continue.
    ///
    /// # Errors
    ///
    /// [`SaveError`] when it is not quiesced.
    fn save(&self) -> Result<State, SaveError>;

    /// Restores a saved state. The file is untrusted: every member is checked.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] when it is not the state of such a part. The part is unchanged then.
    fn restore(&self, state: &State) -> Result<(), RestoreError>;

    /// Appends its terms to the DSDT (ACPI 6.4 §5.2.11.1), for a guest that cannot find it otherwise.
    fn describe(&self, _placement: &Placement, _dsdt: &mut dyn AmlSink) {}
}

/// Checks that the tests of every part share.
#[cfg(test)]
pub(crate) mod testing {
    use std::fmt::Debug;
    use std::sync::mpsc;

    use super::{LifeCycle, State};

    /// Resets a part, and waits until it has been.
    pub(crate) fn reset(part: &impl LifeCycle) {
        let (done, is_done) = mpsc::channel();
        part.reset(Box::new(move || done.send(()).unwrap()));
        is_done.recv().unwrap();
    }

    /// Saves, resets and restores a part: `read` and a second save return the same as before.
    pub(crate) fn assert_survives_a_reset<P: LifeCycle, R: Debug + PartialEq>(
        part: &P,
        read: impl Fn(&P) -> R,
    ) {
        let saved = part.save().unwrap();
        let before = read(part);
        reset(part);
        part.restore(&saved).unwrap();
        assert_eq!(part.save().unwrap(), saved);
        assert_eq!(read(part), before);
    }

    /// Restores invalid states, each of which must be refused without an effect.
    pub(crate) fn assert_refuses(part: &impl LifeCycle, damaged: &[&str]) {
        let saved = part.save().unwrap();
        for text in damaged {
            let state: State = serde_json::from_str(text).unwrap();
            assert!(part.restore(&state).is_err(), "{text}");
            assert_eq!(part.save().unwrap(), saved, "{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Registers {
        index: u8,
    }

    #[test]
    fn a_state_survives_its_way_through_text() {
        let state = State::of(&Registers { index: 7 }).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(text, r#"{"index":7}"#);
        let read: State = serde_json::from_str(&text).unwrap();
        assert_eq!(read.decode::<Registers>().unwrap(), Registers { index: 7 });
    }

    #[test]
    fn a_state_of_another_shape_is_refused() {
        for text in [
            "null",
            "{}",
            "[7]",
            r#"{"index":256}"#,
            r#"{"index":-1}"#,
            r#"{"index":"7"}"#,
            r#"{"index":7,"more":0}"#,
        ] {
            let state: State = serde_json::from_str(text).unwrap();
            let refused = state.decode::<Registers>();
            assert!(
                matches!(refused, Err(RestoreError::Malformed(_))),
                "{text}: {refused:?}"
            );
        }
        let more: State = serde_json::from_str(r#"{"more":0}"#).unwrap();
        assert!(more.decode::<Stateless>().is_err());
    }
}
