//! Reads schemas in the QAPI language and writes Rust.
//!
//! The language is the one of QEMU's "How to use the QAPI code generator". A schema goes through four steps, a
//! module each: `lexer` makes tokens of the text, `node` makes a tree of the tokens, `definition` gives the tree
//! its meaning, `check` refuses what means nothing; `codegen` then writes the Rust. Documentation is part of the
//! language (`doc`): what is not documented is refused like what is not defined.
//!
//! Not written yet, and refused by name where a schema uses them: unions, alternates and conditions (`if`).

mod check;
mod codegen;
mod definition;
mod doc;
mod error;
mod lexer;
mod load;
mod name;
mod node;
mod pragma;

pub use codegen::Owners;
pub use error::{Location, SchemaError};
pub use load::Loaded;

use std::path::Path;

/// The feature that marks an event as a notice in a session's stream: no signal, and so without an accessor.
pub const NOTICE_FEATURE: &str = "notice";

/// Reads the schema that starts in `path`, with everything that it includes, and checks it.
///
/// # Errors
///
/// The first mistake found, with the file and the line that it is in.
pub fn load(path: &Path) -> Result<Loaded, SchemaError> {
    let loaded = load::load(path)?;
    check::check(&loaded.definitions, &loaded.pragmas)?;
    Ok(loaded)
}

/// Writes the Rust of a schema that was loaded.
///
/// # Errors
///
/// Two names of the schema that would be one name in Rust.
pub fn generate(schema: &Loaded, owners: &Owners) -> Result<String, SchemaError> {
    codegen::generate(&schema.definitions, owners)
}
