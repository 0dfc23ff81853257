//! The tokens of the language.

use std::rc::Rc;

use crate::error::{Location, SchemaError};

/// A token, without its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// One of `{ } [ ] : ,`.
    Punctuation(char),
    /// A string in single quotes.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// The lines between two `##`, without their `#`, each with its number.
    Doc(Vec<(u32, String)>),
}

/// Splits a file into tokens.
pub(crate) fn tokens(file: &Rc<str>, text: &str) -> Result<Vec<(Location, Token)>, SchemaError> {
    let mut tokens = Vec::new();
    let mut lines = text.lines().zip(1_u32..);
    while let Some((line, number)) = lines.next() {
        let location = Location::new(file, number);
        if line == "##" {
            let block = doc_block(file, &location, &mut lines)?;
            tokens.push((location, Token::Doc(block)));
        } else {
            line_tokens(line, &location, &mut tokens)?;
        }
    }
    Ok(tokens)
}

fn doc_block<'a>(
    file: &Rc<str>,
    start: &Location,
    lines: &mut impl Iterator<Item = (&'a str, u32)>,
) -> Result<Vec<(u32, String)>, SchemaError> {
    let mut block = Vec::new();
    for (line, number) in lines {
        if line == "##" {
            return Ok(block);
        }
        let location = Location::new(file, number);
        let Some(rest) = line.strip_prefix('#') else {
            return Err(location.error("documentation must end with '##'"));
        };
        let text = match rest.strip_prefix(' ') {
            Some(text) => text,
            None if rest.is_empty() => "",
            None => return Err(location.error("a space must follow '#' in documentation")),
        };
        block.push((number, text.trim_end().to_owned()));
    }
    Err(start.error("documentation without an end: '##' is missing"))
}

fn line_tokens(
    line: &str,
    location: &Location,
    tokens: &mut Vec<(Location, Token)>,
) -> Result<(), SchemaError> {
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '#' => return Ok(()),
            '{' | '}' | '[' | ']' | ':' | ',' => {
                tokens.push((location.clone(), Token::Punctuation(character)));
                after
            }
            '\'' => {
                let Some((text, after)) = after.split_once('\'') else {
                    return Err(location.error("a string is missing its closing quote"));
                };
                if let Some(bad) = text
                    .chars()
                    .find(|c| !(' '..='~').contains(c) || *c == '\\')
                {
                    return Err(location.error(format!("a string may not hold {bad:?}")));
                }
                tokens.push((location.clone(), Token::Text(text.to_owned())));
                after
            }
            ' ' | '\t' => after,
            _ => {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric())
                    .unwrap_or(rest.len());
                let token = match &rest[..end] {
                    "true" => Token::Bool(true),
                    "false" => Token::Bool(false),
                    "" => return Err(location.error(format!("stray {character:?}"))),
                    word => return Err(location.error(format!("stray word '{word}'"))),
                };
                tokens.push((location.clone(), token));
                &rest[end..]
            }
        };
    }
    Ok(())
}
