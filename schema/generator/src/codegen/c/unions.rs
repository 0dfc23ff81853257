//! Unions: a structure of the common members, and a C union of the branches.

use super::documentation::Comment;
use super::fields::{Field, Shape};
use super::{Writer, names};
use crate::codegen::unions::branch_enum;
use crate::definition::{Branch, Definition, Union};
use crate::error::SchemaError;
use crate::name;

/// A branch, in C and in Rust.
pub(super) struct Variant<'a> {
    pub(super) branch: &'a Branch,
    pub(super) name: String,
    pub(super) shape: Shape,
}

impl Variant<'_> {
    /// The Rust expression that reads it from `from.u`, whose path is `u`.
    pub(super) fn read(&self) -> String {
        let (of, name) = (&self.shape.rust, &self.name);
        format!("FromC::from_c(from.u.read::<{of}>(), &u.member(\"{name}\"))")
    }
}

/// The parts of a union.
struct Parts<'a> {
    /// The union's name in the schema.
    rust: &'a str,
    /// The union's name in C.
    of: &'a str,
    /// The Rust name of the C union within it.
    storage: &'a str,
    fields: &'a [Field<'a>],
    /// The discriminator's field.
    tag: &'a Field<'a>,
    variants: &'a [Variant<'a>],
    /// The Rust variants without a branch.
    bare: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn union(
        &mut self,
        definition: &'a Definition,
        union: &'a Union,
    ) -> Result<(), SchemaError> {
        let of = names::type_name(&definition.name);
        let members = self.schema.all_members(&definition.name);
        let fields = self.fields(&definition.name, &members)?;
        let Some(tag) = fields
            .iter()
            .find(|field| field.member.name == union.discriminator)
        else {
            return Ok(());
        };
        let variants = self.variants(definition, &union.branches)?;
        self.open(definition, &of);
        for field in &fields {
            self.declare_field(field);
        }
        self.declare_variants(
            &tag.name,
            |value| names::constant(&tag.member.of.name, value),
            &variants,
        );
        self.c("};\n");
        let storage = self.storage(&of, &variants);
        self.mirror(&of, &fields, &[("u", storage.clone())]);
        let bare = self.schema.bare_values(definition, union);
        let parts = Parts {
            rust: &definition.name,
            of: &of,
            storage: &storage,
            fields: &fields,
            tag,
            variants: &variants,
            bare: bare.map(|value| name::camel(&value.name)).collect(),
        };
        self.union_to_c(&parts);
        self.union_from_c(&parts);
        Ok(())
    }

    /// The branches of a union or of an alternate. Two of one name are refused.
    pub(super) fn variants(
        &self,
        definition: &Definition,
        branches: &'a [Branch],
    ) -> Result<Vec<Variant<'a>>, SchemaError> {
        let mut variants: Vec<Variant<'a>> = Vec::new();
        for branch in branches {
            let name = names::member(&branch.name);
            if variants.iter().any(|other| other.name == name) {
                let of = &definition.name;
                let message = format!("two branches of '{of}' would be '{name}' in C");
                return Err(branch.location.error(message));
            }
            let shape = self.held(&definition.name, &branch.of);
            variants.push(Variant {
                branch,
                name,
                shape,
            });
        }
        Ok(variants)
    }

    /// Writes the union in C. `constant` gives the value of `tag` for a branch.
    pub(super) fn declare_variants(
        &mut self,
        tag: &str,
        constant: impl Fn(&str) -> String,
        variants: &[Variant<'_>],
    ) {
        self.c(format!(
            "    /** What `{tag}` says, and nothing for a value of `{tag}` that is not named here. */\n    union {{"
        ));
        for variant in variants {
            let mut comment = Comment::default();
            comment.add(&constant(&variant.branch.name));
            let text = comment.text(8);
            self.c(format!(
                "{text}        {}",
                variant.shape.declare(&variant.name)
            ));
        }
        self.c("    } u;");
    }

    /// Writes the union in Rust, and returns its name.
    pub(super) fn storage(&mut self, of: &str, variants: &[Variant<'_>]) -> String {
        let storage = format!("{of}U");
        self.rust(format!("c_union! {{\n    {storage} {{"));
        for variant in variants {
            let name = name::snake(&variant.name);
            self.rust(format!("        {name}: {},", variant.shape.rust));
        }
        self.rust("    }\n}\n");
        storage
    }

    fn union_to_c(&mut self, parts: &Parts<'_>) {
        let Parts { rust, of, .. } = parts;
        let branches = branch_enum(rust);
        let tag = parts.tag.schema_name();
        self.rust(format!(
            "impl ToC for schema::{rust} {{\n    type C = {of};\n\n    fn to_c(&self, arena: &Arena) -> {of} {{\n        let u = match &self.{tag} {{"
        ));
        for Variant { branch, name, .. } in parts.variants {
            let variant = name::camel(&branch.name);
            let (storage, name) = (parts.storage, name::snake(name));
            self.rust(format!(
                "            schema::{branches}::{variant}(branch) => {storage} {{ {name}: branch.to_c(arena) }},"
            ));
        }
        for variant in &parts.bare {
            self.rust(format!(
                "            schema::{branches}::{variant} => zeroed(),"
            ));
        }
        self.rust(format!("        }};\n        {of} {{"));
        for field in parts.fields {
            if field.name == parts.tag.name {
                let to = field.rust_name();
                self.rust(format!("            {to}: self.{tag}.tag().to_c(arena),"));
            } else {
                self.fields_to_c(std::slice::from_ref(field));
            }
        }
        self.rust("            u,\n        }\n    }\n}\n");
        self.rust(format!("object!(schema::{rust});\n"));
    }

    fn union_from_c(&mut self, parts: &Parts<'_>) {
        let Parts { rust, of, tag, .. } = parts;
        let branches = branch_enum(rust);
        let tag_enum = &tag.member.of.name;
        self.rust(format!(
            "impl FromC for schema::{rust} {{\n    fn from_c(from: &{of}, at: &Path<'_>) -> Result<Self, InvalidArgument> {{\n        let tag = FromC::from_c(&from.{}, &at.member(\"{}\"))?;\n        let u = at.member(\"u\");\n        let branch = match tag {{",
            tag.rust_name(),
            tag.name
        ));
        for variant in parts.variants {
            let name = name::camel(&variant.branch.name);
            let read = variant.read();
            self.rust(format!(
                "            schema::{tag_enum}::{name} => schema::{branches}::{name}({read}?),"
            ));
        }
        for name in &parts.bare {
            self.rust(format!(
                "            schema::{tag_enum}::{name} => schema::{branches}::{name},"
            ));
        }
        self.rust("        };\n        Ok(Self {");
        for field in parts.fields {
            if field.name == tag.name {
                self.rust(format!("            {}: branch,", field.schema_name()));
            } else {
                self.fields_from_c(std::slice::from_ref(field));
            }
        }
        self.rust("        })\n    }\n}\n");
    }
}
