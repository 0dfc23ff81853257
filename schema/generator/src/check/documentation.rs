//! Documentation: everything defined is documented, and nothing else.

use super::Checker;
use crate::definition::{Definition, Kind};
use crate::doc::{Described, Doc};
use crate::error::SchemaError;

impl Checker<'_> {
    pub(super) fn documentation(&self, definition: &Definition) -> Result<(), SchemaError> {
        let Some(doc) = &definition.doc else {
            if !self.pragmas.doc_required {
                return Ok(());
            }
            return Err(definition
                .location
                .error(format!("'{}' is not documented", definition.name)));
        };
        if doc.symbol.as_ref() != Some(&definition.name) {
            let symbol = doc.symbol.as_deref().unwrap_or_default();
            let message = format!(
                "this documents '{symbol}', but '{}' follows",
                definition.name
            );
            return Err(doc.location.error(message));
        }
        if self.pragmas.doc_required && doc.body.is_empty() {
            return Err(doc
                .location
                .error(format!("'{}' is not described", definition.name)));
        }
        if self.pragmas.doc_required && doc.since.as_deref().is_none_or(str::is_empty) {
            return Err(doc.location.error("'Since:' is missing"));
        }
        self.documented_members(definition, doc)?;
        let features = features(definition);
        described("feature", &features, &doc.features, doc)?;
        let returns =
            matches!(&definition.kind, Kind::Command(command) if command.returns.is_some());
        match (&doc.returns, returns) {
            (Some(_), false) => Err(doc.location.error("'Returns:' where nothing is returned")),
            (None, true) if self.pragmas.doc_required => {
                Err(doc.location.error("'Returns:' is missing"))
            }
            _ => Ok(()),
        }
    }

    fn documented_members(&self, definition: &Definition, doc: &Doc) -> Result<(), SchemaError> {
        let names = names(definition);
        if self.pragmas.documentation.contains(&definition.name) {
            let there: Vec<&str> = doc.members.iter().map(|d| d.name.as_str()).collect();
            let of_these: Vec<&str> = names.into_iter().filter(|n| there.contains(n)).collect();
            return described("member", &of_these, &doc.members, doc);
        }
        described("member", &names, &doc.members, doc)
    }
}

/// The names that a definition states and documents. A union's branches are documented with their types.
fn names(definition: &Definition) -> Vec<&str> {
    match &definition.kind {
        Kind::Enum(values) => values.iter().map(|value| value.name.as_str()).collect(),
        Kind::Alternate(alternatives) => alternatives
            .iter()
            .map(|alternative| alternative.name.as_str())
            .collect(),
        _ => {
            let members = definition.own_members().iter();
            members.map(|member| member.name.as_str()).collect()
        }
    }
}

/// The features of a definition and of its members. Features of one name share one documentation.
fn features(definition: &Definition) -> Vec<&str> {
    let of_values = match &definition.kind {
        Kind::Enum(values) => values.as_slice(),
        _ => &[],
    };
    let of_members = definition.own_members().iter().flat_map(|m| &m.features);
    let all = definition
        .features
        .iter()
        .chain(of_values.iter().flat_map(|value| &value.features))
        .chain(of_members);
    all.map(|feature| feature.name.as_str()).collect()
}

/// Checks that each name is described, and nothing else.
fn described(
    what: &str,
    names: &[&str],
    described: &[Described],
    doc: &Doc,
) -> Result<(), SchemaError> {
    for name in names {
        match described.iter().find(|d| d.name == **name) {
            None => {
                return Err(doc
                    .location
                    .error(format!("{what} '{name}' is not documented")));
            }
            Some(d) if d.text.is_empty() => {
                return Err(d
                    .location
                    .error(format!("{what} '{name}' is not described")));
            }
            Some(_) => {}
        }
    }
    match described.iter().find(|d| !names.contains(&d.name.as_str())) {
        Some(d) => Err(d
            .location
            .error(format!("there is no {what} '{}' to document", d.name))),
        None => Ok(()),
    }
}
