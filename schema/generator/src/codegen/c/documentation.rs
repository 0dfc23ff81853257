//! A schema's documentation as C comments.

use std::fmt::Write as _;

use super::names;
use crate::codegen::Schema;
use crate::codegen::documentation::with_names;
use crate::definition::{Definition, Kind};
use crate::doc::Doc;

/// The longest line of a comment, in columns.
const WIDTH: usize = 100;

/// A comment under construction: paragraphs, with blank lines between them.
#[derive(Debug, Default)]
pub(super) struct Comment {
    paragraphs: Vec<String>,
}

impl Comment {
    /// The documentation of a definition, or a sentence that there is none.
    pub(super) fn of(schema: &Schema<'_>, definition: &Definition) -> Self {
        let mut comment = Self::default();
        match &definition.doc {
            Some(doc) => comment.add(&rendered(schema, &doc.body)),
            None => comment.add(&format!("`{}` of the schema.", definition.name)),
        }
        comment
    }

    /// The documentation of a member or a value.
    pub(super) fn of_member(schema: &Schema<'_>, doc: Option<&Doc>, name: &str) -> Self {
        let described = doc.and_then(|doc| doc.members.iter().find(|member| member.name == name));
        let mut comment = Self::default();
        match described {
            Some(described) => comment.add(&rendered(schema, &described.text)),
            None => comment.add(&format!("`{name}` of the schema.")),
        }
        comment
    }

    /// Adds paragraphs.
    pub(super) fn add(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.paragraphs.push(text.to_owned());
        }
    }

    /// Adds to the last paragraph.
    pub(super) fn append(&mut self, text: &str) {
        match self.paragraphs.last_mut() {
            Some(last) => {
                last.push_str(text);
            }
            None => self.add(text),
        }
    }

    /// Adds what ends a documentation: features, and the version.
    pub(super) fn close(&mut self, schema: &Schema<'_>, doc: Option<&Doc>) {
        let Some(doc) = doc else {
            return;
        };
        for feature in &doc.features {
            let text = rendered(schema, &feature.text);
            self.add(&format!("Feature `{}`: {text}", feature.name));
        }
        if let Some(since) = &doc.since {
            self.add(&format!("Since {since}."));
        }
    }

    /// The comment's lines, indented by a number of spaces.
    pub(super) fn text(&self, indentation: usize) -> String {
        let margin = " ".repeat(indentation);
        let text = self.paragraphs.join("\n\n");
        let text = text.replace("*/", "* /").replace("/*", "/ *");
        let one = format!("{margin}/** {} */\n", flowing(&text).join("\n"));
        if one.lines().count() == 1 && one.len() <= WIDTH {
            return one;
        }
        let mut out = format!("{margin}/**\n");
        for line in flowing(&text) {
            for line in wrapped(&line, WIDTH - indentation - 3) {
                let _ = writeln!(out, "{}", format!("{margin} * {line}").trim_end());
            }
        }
        let _ = writeln!(out, "{margin} */");
        out
    }
}

/// Text with names of the schema replaced by their names in C.
pub(super) fn rendered(schema: &Schema<'_>, text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| with_names(line, |name| name_in_c(schema, name)))
        .collect();
    lines.join("\n")
}

fn name_in_c(schema: &Schema<'_>, name: &str) -> String {
    match schema.by_name.get(name).map(|definition| &definition.kind) {
        Some(Kind::Command(_)) => format!("{}()", names::function(name)),
        Some(Kind::Event(_)) => name.to_owned(),
        Some(_) => names::type_name(name),
        None => format!("`{name}`"),
    }
}

/// Text with one line for each paragraph and each item of a list.
fn flowing(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let starts = line.is_empty() || line.starts_with([' ', '-', '*']);
        match lines.last_mut() {
            Some(last) if !starts && !last.is_empty() => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// Breaks a line at spaces into lines of at most `width` characters.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().map_or(0, |last| last.len());
        match lines.last_mut() {
            Some(text) if last == 0 || last + 1 + word.len() <= width => {
                if last > 0 {
                    text.push(' ');
                }
                text.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
