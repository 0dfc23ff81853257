//! The wire: where a message ends, what it asks for, and how answers and events are spelled.
//!
//! Nothing here knows a session or a connection. [`lexer`] splits the stream into messages, [`json`] reads JSON strictly,
//! [`protocol`] chooses between the two spellings: QMP ([`request`], [`codec`]) and JSON-RPC ([`json_rpc`]). [`event`] encodes
//! events; [`objects`] is the object model of class hints.

pub(crate) mod codec;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod json_rpc;
pub(crate) mod lexer;
pub(crate) mod objects;
pub(crate) mod protocol;
pub(crate) mod request;
