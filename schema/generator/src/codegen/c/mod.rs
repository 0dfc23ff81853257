//! Writes the C library of a schema: the part of its header that follows from the schema, and the Rust behind it.
//!
//! A file of this folder for each part of what comes out, each of which writes both sides of it, so that what has to
//! agree stands together: the enumerations, the lists, the structures (with a file for unions and one for
//! alternates), the events, and the functions that execute commands. What no schema is needed for, sessions and errors for
//! example, is written by hand in the crate that this is generated for, as are the few generic functions that the
//! generated Rust calls.

mod alternates;
mod documentation;
mod enums;
mod events;
mod fields;
mod functions;
mod lists;
mod names;
mod order;
mod structs;
mod unions;

use std::fmt::Write as _;

use super::Schema;
use crate::definition::Kind;
use crate::error::SchemaError;
use crate::load::Loaded;
use documentation::Comment;
use names::Scope;

/// The line of a header's template that the generated part stands in for.
const MARK: &str = "/* What follows from the schema stands here. */";

/// The C library of a schema.
#[derive(Clone, Debug, Default)]
pub struct CLibrary {
    /// What the schema declares, in C.
    pub declarations: String,
    /// What implements it, in Rust.
    pub rust: String,
}

impl CLibrary {
    /// The header: a template, with the declarations in the place that it marks for them with the line
    /// `/* What follows from the schema stands here. */`. `None` for a template without such a line.
    #[must_use]
    pub fn header(&self, template: &str) -> Option<String> {
        let (before, after) = template.split_once(MARK)?;
        let declarations = self.declarations.trim_end();
        Some(format!("{before}{declarations}{after}"))
    }
}

/// Writes the library of a schema that was loaded.
pub(crate) fn library(loaded: &Loaded) -> Result<CLibrary, SchemaError> {
    let schema = Schema::new(&loaded.definitions);
    let mut writer = Writer {
        schema: &schema,
        scope: Scope::default(),
        out: CLibrary::default(),
        layouts: Vec::new(),
    };
    enums::write(&mut writer)?;
    structs::declare(&mut writer)?;
    lists::write(&mut writer)?;
    structs::write(&mut writer)?;
    events::write(&mut writer)?;
    functions::write(&mut writer)?;
    writer.write_layouts();
    Ok(writer.out)
}

/// What the parts write with.
struct Writer<'a> {
    schema: &'a Schema<'a>,
    scope: Scope,
    out: CLibrary,
    /// The structures, for the table of their layouts.
    layouts: Vec<String>,
}

impl Writer<'_> {
    /// Writes lines of C.
    fn c(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.out.declarations, "{}", text.as_ref());
    }

    /// Writes lines of Rust.
    fn rust(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.out.rust, "{}", text.as_ref());
    }

    /// Declares something under a comment of these paragraphs.
    fn declare(&mut self, about: &[&str], declaration: &str) {
        let mut comment = Comment::default();
        for paragraph in about {
            comment.add(paragraph);
        }
        self.c(format!("{}{declaration}\n", comment.text(0)));
    }

    /// Writes a heading into the header.
    fn heading(&mut self, title: &str) {
        let rule = "-".repeat(77);
        self.c(format!("/* {rule}\n * {title}\n * {rule} */\n"));
    }

    /// Writes the table of what each structure looks like, for a test that compares it with what a C compiler makes
    /// of the header.
    fn write_layouts(&mut self) {
        let rows: Vec<String> = self
            .layouts
            .iter()
            .map(|name| format!("        StructLayout::of::<{name}>(\"{name}\"),\n"))
            .collect();
        let rows = rows.concat();
        self.rust(format!(
            "/// The structures of the header, as Rust lays them out.\npub fn layouts() -> Vec<StructLayout> {{\n    vec![\n{rows}    ]\n}}"
        ));
    }
}

impl Schema<'_> {
    fn is_enum(&self, name: &str) -> bool {
        let definition = self.by_name.get(name);
        definition.is_some_and(|definition| matches!(definition.kind, Kind::Enum(_)))
    }
}
