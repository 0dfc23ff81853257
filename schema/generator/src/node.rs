//! The syntax tree of a schema file.

use std::rc::Rc;

use crate::error::{Location, SchemaError};
use crate::lexer::{Token, tokens};

/// A value and its location.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) location: Location,
    pub(crate) value: Value,
}

/// A value of the syntax tree.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    Bool(bool),
}

/// An item at the top level of a file: an object, or documentation.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Object(Node),
    Doc(Location, Vec<(u32, String)>),
}

impl Node {
    /// The string, or an error that says what should have been one.
    pub(crate) fn text(&self, what: &str) -> Result<&str, SchemaError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.location.error(format!("{what} must be a string"))),
        }
    }

    /// The members of an object.
    pub(crate) fn members(&self, what: &str) -> Result<&[(String, Node)], SchemaError> {
        match &self.value {
            Value::Object(members) => Ok(members),
            _ => Err(self.location.error(format!("{what} must be an object"))),
        }
    }

    /// The elements of a list.
    pub(crate) fn list(&self, what: &str) -> Result<&[Node], SchemaError> {
        match &self.value {
            Value::List(list) => Ok(list),
            _ => Err(self.location.error(format!("{what} must be a list"))),
        }
    }

    /// The boolean.
    pub(crate) fn bool(&self, what: &str) -> Result<bool, SchemaError> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.location.error(format!("{what} must be true or false"))),
        }
    }
}

/// Parses a whole file.
pub(crate) fn parse(file: &Rc<str>, text: &str) -> Result<Vec<Item>, SchemaError> {
    let tokens = tokens(file, text)?;
    let end = Location::new(
        file,
        u32::try_from(text.lines().count())
            .unwrap_or(u32::MAX)
            .max(1),
    );
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
        end,
    };
    let mut items = Vec::new();
    while let Some((location, token)) = parser.tokens.next() {
        items.push(match token {
            Token::Doc(lines) => Item::Doc(location, lines),
            Token::Punctuation('{') => Item::Object(parser.object(location)?),
            _ => return Err(location.error("expected '{' or documentation")),
        });
    }
    Ok(items)
}

struct Parser<T: Iterator<Item = (Location, Token)>> {
    tokens: std::iter::Peekable<T>,
    end: Location,
}

impl<T: Iterator<Item = (Location, Token)>> Parser<T> {
    fn next(&mut self, expected: &str) -> Result<(Location, Token), SchemaError> {
        self.tokens.next().ok_or_else(|| {
            self.end
                .error(format!("the file ends where {expected} was expected"))
        })
    }

    fn takes(&mut self, punctuation: char) -> bool {
        self.tokens
            .next_if(|(_, token)| *token == Token::Punctuation(punctuation))
            .is_some()
    }

    fn object(&mut self, location: Location) -> Result<Node, SchemaError> {
        let mut members: Vec<(String, Node)> = Vec::new();
        if self.takes('}') {
            return Ok(Node {
                location,
                value: Value::Object(members),
            });
        }
        loop {
            let (at, token) = self.next("a key")?;
            let Token::Text(key) = token else {
                return Err(at.error("expected a key in single quotes"));
            };
            if members.iter().any(|(name, _)| *name == key) {
                return Err(at.error(format!("key '{key}' is there twice")));
            }
            let (at, token) = self.next("':'")?;
            if token != Token::Punctuation(':') {
                return Err(at.error("expected ':'"));
            }
            let value = self.value()?;
            members.push((key, value));
            match self.next("',' or '}'")? {
                (_, Token::Punctuation('}')) => break,
                (_, Token::Punctuation(',')) => {}
                (at, _) => return Err(at.error("expected ',' or '}'")),
            }
        }
        Ok(Node {
            location,
            value: Value::Object(members),
        })
    }

    fn list(&mut self, location: Location) -> Result<Node, SchemaError> {
        let mut elements = Vec::new();
        if self.takes(']') {
            return Ok(Node {
                location,
                value: Value::List(elements),
            });
        }
        loop {
            elements.push(self.value()?);
            match self.next("',' or ']'")? {
                (_, Token::Punctuation(']')) => break,
                (_, Token::Punctuation(',')) => {}
                (at, _) => return Err(at.error("expected ',' or ']'")),
            }
        }
        Ok(Node {
            location,
            value: Value::List(elements),
        })
    }

    fn value(&mut self) -> Result<Node, SchemaError> {
        let (location, token) = self.next("a value")?;
        let value = match token {
            Token::Punctuation('{') => return self.object(location),
            Token::Punctuation('[') => return self.list(location),
            Token::Text(text) => Value::Text(text),
            Token::Bool(value) => Value::Bool(value),
            Token::Punctuation(_) | Token::Doc(_) => {
                return Err(location.error("expected '{', '[', a string or a boolean"));
            }
        };
        Ok(Node { location, value })
    }
}
