//! The block layer, independent of virtio.
//!
//! A [`Request`](model::request::Request) consists of an operation, a range and guest memory. A
//! [`Backend`](model::backend::Backend) takes requests and later returns a [`Completion`](model::request::Completion)
//! for each, whose result keeps the errno.
//!
//! The rooms, each of which imports only those above it:
//!
//! | room | what is in it |
//! | --- | --- |
//! | [`model`] | requests, guest memory, errno, the backend trait, power cuts |
//! | [`host`] | images on the host: opening, locking, direct I/O, discard limits |
//! | [`engine`] | performing requests: steps, io_uring, threads |
//! | [`format`](mod@format) | qcow2, probing |
//! | [`policy`] | error policy, write threshold, statistics |
//! | [`fault`] | rules, decisions, their log and its replay |
//! | [`throttle`] | I/O limits |
//! | [`volatile`] | a write cache that a power cut loses |
//! | [`open`] | the backend for an image |

pub mod engine;
pub mod fault;
pub mod format;
pub mod host;
pub mod model;
pub mod open;
pub mod policy;
#[cfg(test)]
mod tests;
pub mod throttle;
pub mod volatile;
