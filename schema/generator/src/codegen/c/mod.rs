//! Writes the C library of a schema: the generated part of its header, and the Rust behind it.
//!
//! Each file writes one part, in both languages, so that what must agree is in one place: enumerations, lists, structures
//! (unions and alternates in files of their own), events, and the functions that execute commands. What does not depend on
//! the schema, such as sessions and errors, is written by hand in the crate that includes the generated code, as are the
//! generic functions that the generated code calls.

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

/// The line of a header's template that the generated part replaces.
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
    /// The header: `template` with its line `/* What follows from the schema stands here. */` replaced by the
    /// declarations. `None` for a template without that line.
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

/// The output, and what the parts need to write it.
struct Writer<'a> {
    schema: &'a Schema<'a>,
    scope: Scope,
    out: CLibrary,
    /// The entries of the table of layouts.
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

    /// Writes a declaration under a comment of these paragraphs.
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

    /// Writes the table of the structures' layouts. A test compares it with the C compiler's.
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
