//! The bytes that a session may begin with.
//!
//! A web page can make a browser send bytes to a loopback port: nearly all bytes after the name of any HTTP method, and
//! some within a TLS handshake. A forwarded port brings them to a unix socket too. None of these can begin with a
//! bracket, and every client does: a session is served from its first bracket on, and ends at any other byte before it.

use crate::wire::lexer::{Lexed, LexicalError, is_space, restarts};
use crate::wire::protocol::Protocol;

/// How strict a session is about its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpeningRule {
    /// On TCP: white space, then a bracket.
    Strict,
    /// On a unix socket: also the bytes that reset the parser, with which a client may begin (QMP specification). They
    /// occur in a TLS handshake, so a first message that one of them cuts off does not count.
    Restartable,
    /// On standard input, which only its owner can reach: anything, with an error for what is not a message.
    Free,
}

/// The progress of a session's opening.
#[derive(Debug)]
pub(super) struct Opening {
    rule: OpeningRule,
    protocol: Protocol,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Only bytes that may precede the first message have been read.
    Awaited,
    /// The first message has begun.
    Begun,
    /// The opening is complete; anything may follow.
    Complete,
}

/// The session began with a byte that cannot begin a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) byte: u8,
    pub(super) rule: OpeningRule,
}

impl Opening {
    pub(super) fn new(rule: OpeningRule, protocol: Protocol) -> Self {
        let state = match rule {
            OpeningRule::Strict | OpeningRule::Restartable => State::Awaited,
            OpeningRule::Free => State::Complete,
        };
        Self {
            rule,
            protocol,
            state,
        }
    }

    /// The prefix of `input` that may be lexed now, at least one byte of a non-empty input. The lexer may consume any
    /// part of it.
    pub(super) fn admit<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Refused> {
        if self.state != State::Awaited {
            return Ok(input);
        }
        let before = input.iter().take_while(|byte| self.may_precede(**byte));
        match before.count() {
            0 => match input.first() {
                Some(&first) if !self.protocol.begins(first) => Err(Refused {
                    byte: first,
                    rule: self.rule,
                }),
                _ => {
                    self.state = match self.rule {
                        OpeningRule::Strict | OpeningRule::Free => State::Complete,
                        OpeningRule::Restartable => State::Begun,
                    };
                    Ok(input)
                }
            },
            count => Ok(&input[..count]),
        }
    }

    /// Updates the opening with the lexer's result for the admitted bytes.
    pub(super) fn lexed(&mut self, lexed: &Lexed) {
        self.state = match (self.state, lexed) {
            (State::Awaited | State::Begun, Err(LexicalError::StrayByte(_))) => State::Awaited,
            _ => State::Complete,
        };
    }

    fn may_precede(&self, byte: u8) -> bool {
        is_space(byte) || (self.rule == OpeningRule::Restartable && restarts(byte))
    }
}
