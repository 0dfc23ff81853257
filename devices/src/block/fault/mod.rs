//! The fault engine: which requests of a disk fail, and how.
//!
//! A disk's [`Engine`](engine::Engine) holds [`Rule`](rule::Rule)s. It is shown each [`Request`](super::model::request::Request) that is about
//! to be performed, and says what becomes of it: a [`Judgement`](judgement::Judgement), made of [`Decision`](action::Decision)s in which
//! nothing is left to chance any more. [`Alterations`](alterations::Alterations) are how a request is performed that is to
//! be performed otherwise than it was meant.
//!
//! All chance follows from a rule's seed, the request's ordinal and the attempt at it
//! ([`Chance`](rng::Chance)), so that the same requests meet the same faults.

pub mod action;
pub mod alterations;
pub mod draw;
pub mod engine;
pub mod errno_names;
mod index;
pub mod judgement;
pub mod kinds;
mod log_fields;
pub mod names;
pub mod power_cut;
pub mod record;
pub mod replay;
pub mod rng;
pub mod rule;
pub mod rule_error;
#[cfg(test)]
mod tests;
