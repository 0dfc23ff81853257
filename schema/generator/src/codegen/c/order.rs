//! The order of the structures: in C a structure is complete before another contains it.

use super::Writer;
use crate::codegen::is_built_in;
use crate::definition::{Branch, Definition, Kind, Union};

impl<'a> Writer<'a> {
    /// The definitions of structures, each after those that it contains.
    pub(super) fn ordered(&self) -> Vec<&'a Definition> {
        let mut ordered = Vec::new();
        for definition in self.schema.definitions {
            self.put(definition, &mut ordered);
        }
        ordered
    }

    /// Appends a definition after those that it needs. The recursion ends: what would contain itself is held by a pointer.
    fn put(&self, definition: &'a Definition, ordered: &mut Vec<&'a Definition>) {
        let is_structure = matches!(
            definition.kind,
            Kind::Struct { .. } | Kind::Union(_) | Kind::Alternate(_)
        );
        if !is_structure || ordered.iter().any(|other| other.name == definition.name) {
            return;
        }
        for within in self.within(definition) {
            self.put(within, ordered);
        }
        ordered.push(definition);
    }

    /// The structures that a structure contains.
    fn within(&self, definition: &'a Definition) -> Vec<&'a Definition> {
        let branches: &[Branch] = match &definition.kind {
            Kind::Union(Union { branches, .. }) | Kind::Alternate(branches) => branches,
            _ => &[],
        };
        let members = self.schema.all_members(&definition.name);
        members
            .into_iter()
            .filter(|(_, member)| !member.optional)
            .map(|(_, member)| &member.of)
            .chain(branches.iter().map(|branch| &branch.of))
            .filter(|of| !of.array && !is_built_in(&of.name))
            .filter(|of| !self.held(&definition.name, of).c.ends_with('*'))
            .filter_map(|of| self.schema.by_name.get(of.name.as_str()).copied())
            .collect()
    }
}
