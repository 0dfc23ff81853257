//! Examples in the documentation: exchanges of messages on the wire.

use crate::definition::Definition;
use crate::error::{Location, SchemaError};
use crate::load::Loaded;

/// An exchange of messages.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The definition that it documents.
    pub of: &'a Definition,
    /// Where it starts.
    pub location: &'a Location,
    /// The messages in order.
    pub messages: &'a [Message],
}

/// A message, by its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `->`: sent by the client.
    Client(String),
    /// `<-`: sent by the server.
    Server(String),
}

impl Message {
    fn start(line: &str) -> Option<Self> {
        let client = line.strip_prefix("-> ").map(str::to_owned);
        let server = || line.strip_prefix("<- ").map(str::to_owned);
        client
            .map(Self::Client)
            .or_else(|| server().map(Self::Server))
    }

    fn push(&mut self, line: &str) {
        let (Self::Client(text) | Self::Server(text)) = self;
        text.push('\n');
        text.push_str(line);
    }
}

impl Loaded {
    /// Every example in the documentation.
    #[must_use]
    pub fn examples(&self) -> Vec<Exchange<'_>> {
        let of = self.definitions.iter();
        of.flat_map(|of| {
            let examples = of.doc.iter().flat_map(|doc| &doc.examples);
            examples.map(move |example| Exchange {
                of,
                location: &example.location,
                messages: &example.messages,
            })
        })
        .collect()
    }
}

/// Parses the lines of an example into messages.
pub(crate) fn messages(location: &Location, lines: &[String]) -> Result<Vec<Message>, SchemaError> {
    let mut messages: Vec<Message> = Vec::new();
    for line in lines {
        if let Some(message) = Message::start(line) {
            messages.push(message);
        } else if let Some(message) = messages.last_mut() {
            message.push(line);
        } else {
            return Err(location.error("an example must start with '->' or '<-'"));
        }
    }
    if messages.is_empty() {
        return Err(location.error("an example is missing its messages"));
    }
    Ok(messages)
}
