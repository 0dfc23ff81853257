//! Pragmas: exceptions that a schema makes to the rules.

use crate::error::SchemaError;
use crate::node::Node;

/// The pragmas of all files of a schema together.
#[derive(Clone, Debug, Default)]
pub struct Pragmas {
    /// Whether everything must be documented.
    pub(crate) doc_required: bool,
    /// Commands whose names may contain underscores.
    pub(crate) command_names: Vec<String>,
    /// Commands that may return something other than an object or a list of objects.
    pub(crate) command_returns: Vec<String>,
    /// Types and commands whose members may contain underscores or capitals.
    pub(crate) member_names: Vec<String>,
    /// Definitions whose members need no documentation.
    pub(crate) documentation: Vec<String>,
}

impl Pragmas {
    /// Adds the pragmas of one object.
    pub(crate) fn add(&mut self, node: &Node) -> Result<(), SchemaError> {
        for (key, value) in node.members("'pragma'")? {
            let list = match key.as_str() {
                "doc-required" => {
                    self.doc_required = value.bool("'doc-required'")?;
                    continue;
                }
                "command-name-exceptions" => &mut self.command_names,
                "command-returns-exceptions" => &mut self.command_returns,
                "member-name-exceptions" => &mut self.member_names,
                "documentation-exceptions" => &mut self.documentation,
                _ => return Err(value.location.error(format!("unknown pragma '{key}'"))),
            };
            for name in value.list(&format!("'{key}'"))? {
                list.push(name.text("a name in a pragma")?.to_owned());
            }
        }
        Ok(())
    }
}
