//! Alternates: in C, a structure of a kind and a union of the alternatives.

use super::documentation::Comment;
use super::unions::Variant;
use super::{Writer, names};
use crate::definition::{Branch, Definition};
use crate::error::SchemaError;
use crate::name;

impl<'a> Writer<'a> {
    pub(super) fn alternate(
        &mut self,
        definition: &'a Definition,
        alternatives: &'a [Branch],
    ) -> Result<(), SchemaError> {
        let of = names::type_name(&definition.name);
        let variants = self.variants(definition, alternatives)?;
        let kind = self.declare_kind(definition, &of, &variants)?;
        self.open(definition, &of);
        self.c(format!("    /** Which of them it is. */\n    {kind} kind;"));
        let constant = |value: &str| constant(definition, value);
        self.declare_variants("kind", constant, &variants);
        self.c("};\n");
        let storage = self.storage(&of, &variants);
        let more = [("kind", "Choice".to_owned()), ("u", storage.clone())];
        self.mirror(&of, &[], &more);
        self.alternate_conversions(definition, &of, &storage, &variants);
        Ok(())
    }

    /// Writes the enumeration of the alternatives, and returns its name.
    fn declare_kind(
        &mut self,
        definition: &Definition,
        of: &str,
        variants: &[Variant<'_>],
    ) -> Result<String, SchemaError> {
        let kind = format!("{of}Kind");
        self.scope.give(&kind, definition)?;
        self.c(format!(
            "/** Which alternative a {of} is. */\ntypedef enum {kind} {{"
        ));
        let doc = definition.doc.as_ref();
        for (number, variant) in variants.iter().enumerate() {
            let constant = constant(definition, &variant.branch.name);
            self.scope.give(&constant, definition)?;
            let about = Comment::of_member(self.schema, doc, &variant.branch.name).text(4);
            let comma = if number + 1 < variants.len() { "," } else { "" };
            self.c(format!("{about}    {constant} = {number}{comma}"));
        }
        self.c(format!("}} {kind};\n"));
        Ok(kind)
    }

    fn alternate_conversions(
        &mut self,
        definition: &Definition,
        of: &str,
        storage: &str,
        variants: &[Variant<'_>],
    ) {
        let rust = &definition.name;
        self.rust(format!(
            "impl ToC for schema::{rust} {{\n    type C = {of};\n\n    fn to_c(&self, arena: &Arena) -> {of} {{\n        match self {{"
        ));
        for (number, Variant { branch, name, .. }) in variants.iter().enumerate() {
            let variant = name::camel(&branch.name);
            let name = name::snake(name);
            self.rust(format!(
                "            Self::{variant}(value) => {of} {{ kind: Choice::new({number}), u: {storage} {{ {name}: value.to_c(arena) }} }},"
            ));
        }
        self.rust(format!(
            "        }}\n    }}\n}}\n\nobject!(schema::{rust});\n\nimpl FromC for schema::{rust} {{\n    fn from_c(from: &{of}, at: &Path<'_>) -> Result<Self, InvalidArgument> {{\n        let u = at.member(\"u\");\n        match from.kind.number() {{"
        ));
        for (number, variant) in variants.iter().enumerate() {
            let name = name::camel(&variant.branch.name);
            let read = variant.read();
            self.rust(format!("            {number} => {read}.map(Self::{name}),"));
        }
        self.rust(format!(
            "            _ => Err(from.kind.refused(\"{of}Kind\", &at.member(\"kind\"))),\n        }}\n    }}\n}}\n"
        ));
    }
}

/// The value of `kind` for an alternative.
fn constant(definition: &Definition, alternative: &str) -> String {
    names::constant(&format!("{}Kind", definition.name), alternative)
}
