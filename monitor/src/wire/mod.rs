//! The wire format: message boundaries, requests, answers, events.
//!
//! Nothing here depends on sessions or connections. [`lexer`] splits the stream into messages, [`json`] parses JSON
//! strictly, [`protocol`] selects QMP ([`request`], [`codec`]) or JSON-RPC ([`json_rpc`]). [`event`] encodes events;
//! [`objects`] is the object model of class hints.

pub(crate) mod codec;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod json_rpc;
pub(crate) mod lexer;
pub(crate) mod objects;
pub(crate) mod protocol;
pub(crate) mod request;
