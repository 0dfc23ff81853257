//! The wire format: message boundaries, requests, answers, events.
//!
//! Nothing here depends on sessions or connections. [`lexer`] splits the stream into messages, [`json`] parses JSON
//! strictly, [`protocol`] makes [`request`]s of messages and writes answers, in QMP or in JSON-RPC ([`json_rpc`]). [`event`] encodes events;
//! [`objects`] is the object model of class hints.

pub(crate) mod codec;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod json_rpc;
pub(crate) mod lexer;
pub(crate) mod objects;
pub(crate) mod protocol;
pub(crate) mod request;
