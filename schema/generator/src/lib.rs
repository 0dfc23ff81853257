//! Reads schemas in the QAPI language and generates Rust.
//!
//! The language is that of QEMU's "How to use the QAPI code generator". A schema goes through four modules: `lexer` splits
//! the text into tokens, `node` parses the tokens into a tree, `definition` turns the tree into definitions, `check`
//! refuses invalid ones; `codegen` then writes the Rust and the reference manual. Documentation is part of the language
//! (`doc`): a definition without it is refused, and its examples can be extracted and tested (`example`).
//!
//! Constructs that this project does not use are refused by name, with the reason: conditions (`if`), commands that
//! marshal themselves (`gen`) and commands that never answer (`success-response`). Another program's schema, read for a
//! comparison, may contain them (`foreign`).

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

/// The feature that marks an event as a notice: part of a session's stream, without a signal or an accessor.
pub const NOTICE_FEATURE: &str = "notice";

/// The feature of an event that is rate-limited as a default event.
pub const RATE_LIMITED_FEATURE: &str = "rate-limited";

/// The feature of an event that carries a state, and is replayed to late subscribers. If values of a member's enum have
/// it, the event is replayed for those only.
pub const REPLAYED_FEATURE: &str = "replayed";

/// The feature of an event that ends replayed states.
pub const ENDS_REPLAY_FEATURE: &str = "ends-replay";

/// The features that tell the monitor how to deliver events. Like a command's `coroutine`, they are for the
/// implementation: `query-qmp-schema` does not show them.
pub const DELIVERY_FEATURES: [&str; 3] =
    [RATE_LIMITED_FEATURE, REPLAYED_FEATURE, ENDS_REPLAY_FEATURE];

/// Reads and checks a schema, from the file `path` with all that it includes.
///
/// # Errors
///
/// The first mistake, with its file and line.
pub fn load(path: &Path) -> Result<Loaded, SchemaError> {
    let loaded = load::load(path, Origin::Own)?;
    check::check(&loaded.definitions, &loaded.pragmas)?;
    Ok(loaded)
}

/// Reads another program's schema, such as QEMU's, for its definitions: unchecked, without documentation, and with
/// everything conditional.
///
/// # Errors
///
/// The text is not QAPI, with the file and the line.
pub fn load_foreign(path: &Path) -> Result<Loaded, SchemaError> {
    load::load(path, Origin::Foreign)
}

/// Generates the Rust of a loaded schema.
///
/// # Errors
///
/// Two names of the schema become one name in Rust.
pub fn generate(schema: &Loaded, owners: &Owners) -> Result<String, SchemaError> {
    codegen::generate(&schema.definitions, owners)
}

/// Generates the C library of a loaded schema: the declarations of its header, and the Rust behind them.
///
/// # Errors
///
/// Two names of the schema become one name in C.
pub fn c_library(schema: &Loaded) -> Result<CLibrary, SchemaError> {
    codegen::c_library(schema)
}

/// Generates a client's methods for a loaded schema, over the types that [`generate`] has written.
#[must_use]
pub fn client(schema: &Loaded) -> String {
    codegen::client(&schema.definitions)
}

/// Generates the reference manual of a loaded schema, in Markdown.
#[must_use]
pub fn reference(schema: &Loaded, owners: &Owners) -> String {
    codegen::reference(schema, owners)
}
