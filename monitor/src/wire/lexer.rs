//! Splits a stream of bytes into messages, and converts QMP's dialect into JSON.
//!
//! The lexer knows brackets, strings and white space only: a parser checks a complete message once. Input may be split
//! at any point, with the same messages as a result.

/// The maximum nesting of objects and arrays.
pub(crate) const NESTING_LIMIT: usize = 1024;

/// The maximum size of a message in bytes.
pub(crate) const SIZE_LIMIT: usize = 1024 * 1024;

/// An initial capacity that most messages fit into.
const USUAL_SIZE: usize = 256;

/// A lexical error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LexicalError {
    #[error("JSON parse error, stray byte {0:#04x}")]
    StrayByte(u8),
    #[error("JSON parse error, a string may not hold byte {0:#04x}")]
    ControlInString(u8),
    #[error("JSON parse error, '{}' closes nothing", char::from(*.0))]
    Unbalanced(u8),
    #[error("JSON nesting depth limit of {NESTING_LIMIT} exceeded")]
    TooDeep,
    #[error("JSON message size limit of {SIZE_LIMIT} bytes exceeded")]
    TooLarge,
}

/// The result of lexing a piece of input.
pub(crate) type Lexed = Result<Vec<u8>, LexicalError>;

/// The dialect of the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// QMP's: strings may be in single quotes, which are escaped in both kinds of strings.
    #[default]
    Qmp,
    /// Standard JSON.
    Json,
}

/// The state between two pieces of input.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    dialect: Dialect,
    /// The message so far, as standard JSON.
    message: Vec<u8>,
    /// Its length in the input.
    size: usize,
    /// The closing brackets of those that are open.
    open: Vec<u8>,
    /// The string that is open.
    string: Option<OpenString>,
    /// The nesting of a message whose rest is skipped after an error.
    discarding: Option<usize>,
    /// Set after a byte that forces a restart: a run of them is one error.
    restarted: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenString {
    quote: u8,
    escaped: bool,
}

/// The effect of one byte.
enum Scanned {
    /// It continues a message.
    Goes,
    /// It ends a message.
    Ends,
    /// The message ended before it.
    EndedBefore,
    /// It is an error.
    Fails(LexicalError),
}

impl Lexer {
    /// A lexer at its start.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            ..Self::default()
        }
    }

    fn is_quote(&self, byte: u8) -> bool {
        byte == b'"' || (byte == b'\'' && self.dialect == Dialect::Qmp)
    }

    /// Reads up to the end of the next message, or of the input. Returns the number of bytes read.
    pub(crate) fn read(&mut self, input: &[u8]) -> (usize, Option<Lexed>) {
        if self.message.capacity() == 0 {
            self.message.reserve(input.len().min(USUAL_SIZE));
        }
        for (index, &byte) in input.iter().enumerate() {
            match self.byte(byte) {
                Scanned::Goes => {}
                Scanned::Ends => return (index + 1, Some(Ok(self.finish()))),
                Scanned::EndedBefore => return (index, Some(Ok(self.finish()))),
                Scanned::Fails(error) => return (index + 1, Some(Err(error))),
            }
        }
        (input.len(), None)
    }

    fn byte(&mut self, byte: u8) -> Scanned {
        if restarts(byte) {
            self.reset();
            if std::mem::replace(&mut self.restarted, true) {
                return Scanned::Goes;
            }
            return Scanned::Fails(LexicalError::StrayByte(byte));
        }
        self.restarted = false;
        if let Some(depth) = self.discarding {
            self.discard(byte, depth);
            return Scanned::Goes;
        }
        if self.size >= SIZE_LIMIT {
            return self.fail_within(byte, LexicalError::TooLarge);
        }
        let scanned = match self.string {
            Some(string) => self.in_string(byte, string),
            None => self.outside_string(byte),
        };
        if matches!(scanned, Scanned::Goes) && !self.message.is_empty() {
            self.size += 1;
        }
        scanned
    }

    fn in_string(&mut self, byte: u8, string: OpenString) -> Scanned {
        match byte {
            b'\n' => {
                // A line feed inside of a string: what follows is a new message.
                self.reset();
                Scanned::Fails(LexicalError::ControlInString(byte))
            }
            b'\t' | b'\r' => self.fail_within(byte, LexicalError::ControlInString(byte)),
            _ if string.escaped => {
                // JSON has no escaped single quote, and needs none.
                if byte != b'\'' || self.dialect == Dialect::Json {
                    self.message.push(b'\\');
                }
                self.message.push(byte);
                self.string = Some(OpenString {
                    escaped: false,
                    ..string
                });
                Scanned::Goes
            }
            b'\\' => {
                self.string = Some(OpenString {
                    escaped: true,
                    ..string
                });
                Scanned::Goes
            }
            _ if byte == string.quote => {
                self.message.push(b'"');
                self.string = None;
                if self.open.is_empty() {
                    Scanned::Ends
                } else {
                    Scanned::Goes
                }
            }
            b'"' => {
                self.message.extend_from_slice(b"\\\"");
                Scanned::Goes
            }
            _ => {
                self.message.push(byte);
                Scanned::Goes
            }
        }
    }

    fn outside_string(&mut self, byte: u8) -> Scanned {
        // Outside of brackets, words and signs extend up to the next space, bracket or quote.
        let after_run = self.open.is_empty() && !self.message.is_empty();
        match byte {
            b'{' | b'[' if after_run => return Scanned::EndedBefore,
            _ if after_run && self.is_quote(byte) => return Scanned::EndedBefore,
            _ if after_run && is_space(byte) => return Scanned::Ends,
            _ if is_space(byte) => {
                // A run of white space becomes one space, so that an answer that echoes it stays on one line.
                if self.message.last().is_some_and(|last| *last != b' ') {
                    self.message.push(b' ');
                }
            }
            _ if self.is_quote(byte) => {
                self.message.push(b'"');
                self.string = Some(OpenString {
                    quote: byte,
                    escaped: false,
                });
            }
            b'{' | b'[' => {
                if self.open.len() == NESTING_LIMIT {
                    return self.fail_within(byte, LexicalError::TooDeep);
                }
                self.message.push(byte);
                self.open.push(if byte == b'{' { b'}' } else { b']' });
            }
            b'}' | b']' if !self.open.is_empty() => {
                if self.open.pop() != Some(byte) {
                    self.reset();
                    return Scanned::Fails(LexicalError::Unbalanced(byte));
                }
                self.message.push(byte);
                if self.open.is_empty() {
                    return Scanned::Ends;
                }
            }
            _ => self.message.push(byte),
        }
        Scanned::Goes
    }

    /// An error in a message whose structure is known: its rest is skipped.
    fn fail_within(&mut self, byte: u8, error: LexicalError) -> Scanned {
        let depth = self.open.len();
        self.message = Vec::new();
        self.open = Vec::new();
        self.discarding = Some(depth);
        self.discard(byte, depth);
        Scanned::Fails(error)
    }

    fn discard(&mut self, byte: u8, depth: usize) {
        let mut depth = depth;
        match self.string {
            Some(string) => match byte {
                b'\n' => return self.reset(),
                _ if string.escaped => {
                    self.string = Some(OpenString {
                        escaped: false,
                        ..string
                    });
                }
                b'\\' => {
                    self.string = Some(OpenString {
                        escaped: true,
                        ..string
                    });
                }
                _ if byte == string.quote => self.string = None,
                _ => return,
            },
            None => match byte {
                _ if self.is_quote(byte) => {
                    self.string = Some(OpenString {
                        quote: byte,
                        escaped: false,
                    });
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ if is_space(byte) => {}
                _ => return,
            },
        }
        self.discarding = Some(depth);
        if depth == 0 && self.string.is_none() {
            self.reset();
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        let message = std::mem::take(&mut self.message);
        self.reset();
        message
    }

    fn reset(&mut self) {
        *self = Self {
            restarted: self.restarted,
            ..Self::new(self.dialect)
        };
    }
}

/// JSON's white space.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The bytes that force QMP's parser to its start, in any state.
pub(crate) fn restarts(byte: u8) -> bool {
    byte == 0xff || (byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests;
