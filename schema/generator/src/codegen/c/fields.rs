//! The members of a structure, in C and in Rust.
//!
//! | type in the schema | in C | if absent |
//! |---|---|---|
//! | a number, a boolean, an enumeration, `null` | the value | `has_…` is false |
//! | `str`, and `any` as JSON | `const char *` | `NULL` |
//! | an object, an alternate | the structure; a pointer to it where it would contain itself | `NULL` |
//! | an array | a structure of `count` and `items` | `NULL` |

use super::Writer;
use super::documentation::Comment;
use super::names;
use crate::codegen::is_built_in;
use crate::definition::{Definition, Member, Type};
use crate::error::SchemaError;
use crate::name;

/// A type, in C and in Rust.
pub(super) struct Shape {
    /// In C, such that a name can follow it.
    pub(super) c: String,
    /// In Rust.
    pub(super) rust: String,
}

impl Shape {
    fn new(c: &str, rust: &str) -> Self {
        Self {
            c: c.to_owned(),
            rust: rust.to_owned(),
        }
    }

    /// A pointer to this type, which may be `NULL`.
    fn pointer(&self) -> Self {
        Self {
            c: format!("const {} *", self.c),
            rust: format!("Ref<{}>", self.rust),
        }
    }

    /// A declaration in C.
    pub(super) fn declare(&self, name: &str) -> String {
        let space = if self.c.ends_with('*') { "" } else { " " };
        format!("{}{space}{name};", self.c)
    }
}

/// How a member's presence is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is always present.
    Required,
    /// Another member tells whether it is present.
    Flagged,
    /// `NULL` if it is absent.
    Nullable,
}

/// A member of a structure.
pub(super) struct Field<'a> {
    /// The member in the schema.
    pub(super) member: &'a Member,
    /// The definition that documents it.
    documents: &'a Definition,
    /// Its name in C.
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) presence: Presence,
}

impl Field<'_> {
    /// The name of the Rust structure's field.
    pub(super) fn rust_name(&self) -> String {
        name::snake(&self.name)
    }

    /// The name of the field in the schema's Rust type.
    pub(super) fn schema_name(&self) -> String {
        name::snake(&self.member.name)
    }
}

impl<'a> Writer<'a> {
    /// The fields of the structure for the schema's type `owner`.
    pub(super) fn fields(
        &self,
        owner: &str,
        members: &[(&'a Definition, &'a Member)],
    ) -> Result<Vec<Field<'a>>, SchemaError> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut taken: Vec<String> = Vec::new();
        for (documents, member) in members {
            let field = self.field(owner, documents, member);
            let flag = (field.presence == Presence::Flagged).then(|| flag(&field.name));
            for name in flag.into_iter().chain([field.name.clone()]) {
                if taken.contains(&name) {
                    let message = format!("two members of '{owner}' would be '{name}' in C");
                    return Err(member.location.error(message));
                }
                taken.push(name);
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn field(&self, owner: &str, documents: &'a Definition, member: &'a Member) -> Field<'a> {
        let shape = self.held(owner, &member.of);
        let (shape, presence) = match (member.optional, self.is_scalar(&member.of)) {
            (false, _) => (shape, Presence::Required),
            (true, true) => (shape, Presence::Flagged),
            (true, false) if shape.c.ends_with('*') => (shape, Presence::Nullable),
            (true, false) => (shape.pointer(), Presence::Nullable),
        };
        Field {
            member,
            documents,
            name: names::member(&member.name),
            shape,
            presence,
        }
    }

    /// The shape of a member of `owner`.
    pub(super) fn held(&self, owner: &str, of: &Type) -> Shape {
        let shape = self.shape(of);
        let is_itself = !of.array
            && !is_built_in(&of.name)
            && self.schema.reaches(&of.name, owner, &mut Vec::new());
        if is_itself { shape.pointer() } else { shape }
    }

    /// The shape of a type by itself.
    pub(super) fn shape(&self, of: &Type) -> Shape {
        if of.array {
            return Shape {
                c: self.list_name(&of.name),
                rust: format!("List<{}>", self.element(&of.name).rust),
            };
        }
        self.element(&of.name)
    }

    /// The shape of a type that is not an array.
    pub(super) fn element(&self, name: &str) -> Shape {
        let (c, rust) = match name {
            "str" => ("const char *", "Text"),
            "any" => ("const char *", "Json"),
            "number" => ("double", "f64"),
            "int" | "int64" => ("int64_t", "i64"),
            "int8" => ("int8_t", "i8"),
            "int16" => ("int16_t", "i16"),
            "int32" => ("int32_t", "i32"),
            "uint8" => ("uint8_t", "u8"),
            "uint16" => ("uint16_t", "u16"),
            "uint32" => ("uint32_t", "u32"),
            "uint64" | "size" => ("uint64_t", "u64"),
            "bool" => ("bool", "Bool"),
            "null" => ("QmpNull", "QmpNull"),
            name => {
                let of = names::type_name(name);
                return match self.schema.is_enum(name) {
                    true => Shape::new(&of, &format!("Enum<schema::{name}>")),
                    false => Shape::new(&of, &of),
                };
            }
        };
        Shape::new(c, rust)
    }

    /// Whether values of the type are stored in place, without a state for absence.
    pub(super) fn is_scalar(&self, of: &Type) -> bool {
        let name = of.name.as_str();
        let is_plain = is_built_in(name) && !matches!(name, "str" | "any");
        !of.array && (is_plain || self.schema.is_enum(name))
    }

    /// Declares a member in the header.
    pub(super) fn declare_field(&mut self, field: &Field<'_>) {
        let doc = field.documents.doc.as_ref();
        let mut comment = Comment::of_member(self.schema, doc, &field.member.name);
        match field.presence {
            Presence::Required if field.shape.rust.starts_with("Ref<") => {
                comment.append(" (never NULL)");
            }
            Presence::Required => {}
            Presence::Flagged => {
                let flag = flag(&field.name);
                self.c(format!("    /** Whether `{}` is present. */", field.name));
                self.c(format!("    bool {flag};"));
            }
            Presence::Nullable => comment.append(" (NULL: absent)"),
        }
        let text = comment.text(4);
        self.c(format!("{text}    {}", field.shape.declare(&field.name)));
    }
}

/// The member that tells whether another is present.
pub(super) fn flag(name: &str) -> String {
    format!("has_{name}")
}
