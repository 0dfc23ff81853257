//! The fault engine: which requests of a disk fail, and how.
//!
//! A disk's [`Engine`] holds [`Rule`]s. It is shown each [`Request`](super::Request) that is about
//! to be performed, and says what becomes of it: a [`Judgement`], made of [`Decision`]s in which
//! nothing is left to chance any more. [`Alterations`] are how a request is performed that is to
//! be performed otherwise than it was meant.
//!
//! All chance follows from a rule's seed, the request's ordinal and the attempt at it
//! ([`Chance`](super::chance::Chance)), so that the same requests meet the same faults.

mod alterations;
mod decision;
mod engine;
mod index;
mod judgement;
mod replay;
mod rule;
#[cfg(test)]
mod tests;

pub use alterations::Alterations;
pub use decision::{Change, Decision, Record, RecordedOperation, Run};
pub use engine::{Board, Counts, Engine, INITIAL_STATE, Shown};
pub use judgement::{Alteration, Fate, Judgement};
pub use replay::Replay;
pub use rule::{
    Action, Applicable, Corruption, Delay, Kinds, MAX_DELAY, MAX_FLIPPED_BITS, MAX_PATTERN, Match,
    Percentile, Rule, Tear, Then,
};
