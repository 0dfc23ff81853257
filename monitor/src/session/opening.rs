//! What a session's first message may begin with.
//!
//! A web page can have a browser send bytes to a port of the loopback: with any HTTP method, after a method's name the
//! page chooses nearly all of them, and within a TLS handshake some. A port that is forwarded to a unix socket brings
//! them there, too. None of these can begin with a bracket, and every client begins with one: so a session is served from
//! its first bracket on, and ends at any other byte before it.

use crate::wire::lexer::{Lexed, LexicalError, is_space, restarts};
use crate::wire::protocol::Protocol;

/// How strict a session is about its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpeningRule {
    /// On TCP: white space, then a bracket.
    Strict,
    /// On a unix socket: the bytes that force a parser back to its start as well, with which the QMP specification lets a
    /// client begin. They occur in a TLS handshake, and so a first message that one of them cuts off does not count.
    Restartable,
    /// On standard input, which nobody reaches whom its owner did not let: anything, with an error for what is no message.
    Free,
}

/// How far a session's beginning has come.
#[derive(Debug)]
pub(super) struct Opening {
    rule: OpeningRule,
    protocol: Protocol,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but what may precede the first message has been read.
    Awaited,
    /// The first message has begun.
    Begun,
    /// The session goes on with whatever comes.
    Complete,
}

/// The session began with a byte that begins no message.
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

    /// The first bytes of `input` that may be lexed now, at least one if there is any. It does not matter how many of them
    /// the lexer then reads.
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

    /// The lexer came to this with what it was admitted.
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
