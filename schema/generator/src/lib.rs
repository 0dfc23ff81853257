//! Reads schemas in the QAPI language and writes Rust.
//!
//! The language is the one of QEMU's "How to use the QAPI code generator". A schema goes through four steps, a
//! module each: `lexer` makes tokens of the text, `node` makes a tree of the tokens, `definition` gives the tree
//! its meaning, `check` refuses what means nothing; `codegen` then writes the Rust, and the reference manual.
//! Documentation is part of the language (`doc`): what is not documented is refused like what is not defined, and its
//! examples can be taken out and tried (`example`).
//!
//! Refused by name, with the reason, is what this project has no use for: conditions (`if`), commands that marshal
//! themselves (`gen`) and commands that never answer (`success-response`). A schema of another program, which is only
//! compared with, may have them (`foreign`).

mod check;
mod codegen;
pub mod definition;
mod doc;
mod error;
mod example;
mod foreign;
mod lexer;
mod load;
mod name;
mod node;
mod pragma;

pub use codegen::{CLibrary, Owners};
pub use definition::Definition;
pub use error::{Location, SchemaError};
pub use example::{Exchange, Message};
pub use load::{Loaded, Topic};

use std::path::Path;

use load::Origin;

/// The feature that marks an event as a notice in a session's stream: no signal, and so without an accessor.
pub const NOTICE_FEATURE: &str = "notice";

/// The feature of an event whose rate is limited as a default event.
pub const RATE_LIMITED_FEATURE: &str = "rate-limited";

/// The feature of an event that tells of a state, and is replayed to late subscribers. Where a member's enum has values with
/// this feature, the event is replayed with those only.
pub const REPLAYED_FEATURE: &str = "replayed";

/// The feature of an event that ends the states that replayed events told of.
pub const ENDS_REPLAY_FEATURE: &str = "ends-replay";

/// The features that say how the monitor delivers events. As `coroutine` does of a command, they speak to who implements
/// the schema: `query-qmp-schema` does not show them.
pub const DELIVERY_FEATURES: [&str; 3] =
    [RATE_LIMITED_FEATURE, REPLAYED_FEATURE, ENDS_REPLAY_FEATURE];

/// Reads the schema that starts in `path`, with everything that it includes, and checks it.
///
/// # Errors
///
/// The first mistake found, with the file and the line that it is in.
pub fn load(path: &Path) -> Result<Loaded, SchemaError> {
    let loaded = load::load(path, Origin::Own)?;
    check::check(&loaded.definitions, &loaded.pragmas)?;
    Ok(loaded)
}

/// Reads the schema of another program, such as QEMU's, for its definitions. It is not checked, has no documentation, and
/// what is conditional in it counts as there.
///
/// # Errors
///
/// What is no definition in QAPI's language, with the file and the line that it is in.
pub fn load_foreign(path: &Path) -> Result<Loaded, SchemaError> {
    load::load(path, Origin::Foreign)
}

/// Writes the Rust of a schema that was loaded.
///
/// # Errors
///
/// Two names of the schema that would be one name in Rust.
pub fn generate(schema: &Loaded, owners: &Owners) -> Result<String, SchemaError> {
    codegen::generate(&schema.definitions, owners)
}

/// Writes the C library of a schema that was loaded: what its header declares, and the Rust behind that.
///
/// # Errors
///
/// Two names of the schema that would be one name in C.
pub fn c_library(schema: &Loaded) -> Result<CLibrary, SchemaError> {
    codegen::c_library(schema)
}

/// Writes, for a schema that was loaded and of which [`generate`] has written the types, the methods of a client.
#[must_use]
pub fn client(schema: &Loaded) -> String {
    codegen::client(&schema.definitions)
}

/// Writes the reference manual of a schema that was loaded, in Markdown.
#[must_use]
pub fn reference(schema: &Loaded, owners: &Owners) -> String {
    codegen::reference(schema, owners)
}
