//! The fault engine: which requests of a disk fail, and how.
//!
//! A disk's [`Engine`](engine::Engine) holds [`Rule`](rule::Rule)s. It evaluates them for each
//! [`Request`](super::model::request::Request) before submission, and returns a [`Judgement`](judgement::Judgement),
//! made of [`Decision`](action::Decision)s without randomness. [`Alterations`](alterations::Alterations) perform
//! requests that are altered.
//!
//! Random choices follow from a rule's seed, the request's ordinal and the attempt ([`Chance`](rng::Chance)), so that
//! the same requests meet the same faults.

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
pub mod state;
#[cfg(test)]
mod tests;
