//! Introspection: the answer to `query-qmp-schema`.
//!
//! Rendered as QEMU renders its own: commands and events in the schema's order, then types in the order of their first
//! use. Clients must not rely on a type's name, which is a number.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Schema, accessor, is_built_in};
use crate::definition::{
    Branch, Command, Data, Definition, EnumValue, Feature, Kind, Member, Type, Union,
};
use crate::{DELIVERY_FEATURES, name};

/// The object type without members.
const EMPTY: &str = "q_empty";

/// Writes the function that builds the answer.
pub(super) fn write(schema: &Schema<'_>, out: &mut String) {
    let definitions = plainly(schema);
    let plain = Schema::new(&definitions);
    let mut rendering = Rendering {
        schema: &plain,
        used: Vec::new(),
        numbers: HashMap::new(),
        entries: Vec::new(),
    };
    rendering.all();
    let _ = writeln!(
        out,
        "\n/// Everything that the schema defines, and what it is.\npub(crate) fn entities() -> Vec<crate::SchemaInfo> {{\n    vec!["
    );
    for entry in rendering.entries {
        let _ = writeln!(out, "        crate::introspection::{entry},");
    }
    let _ = writeln!(out, "    ]\n}}");
}

/// The definitions and the accessors, with each inline list of members as a type of its own.
fn plainly(schema: &Schema<'_>) -> Vec<Definition> {
    let Some(first) = schema.definitions.first() else {
        return Vec::new();
    };
    let mut plain = vec![object(first, EMPTY.to_owned(), Vec::new())];
    for definition in schema.definitions {
        named(definition.clone(), &mut plain);
        if let Some((event, data)) = schema
            .signals()
            .find(|(event, _)| event.name == definition.name)
        {
            named(accessor::definition(schema, event, data), &mut plain);
        }
    }
    plain
}

/// Adds a definition, and a type for the members that it defines inline.
fn named(mut definition: Definition, plain: &mut Vec<Definition>) {
    let role = match definition.kind {
        Kind::Union(_) => "base",
        _ => "arg",
    };
    let name = format!("q_obj_{}-{role}", definition.name);
    let location = definition.location.clone();
    let data = match &mut definition.kind {
        Kind::Union(Union { base: data, .. })
        | Kind::Command(Command { data, .. })
        | Kind::Event(data) => data,
        _ => {
            plain.push(definition);
            return;
        }
    };
    if let Data::Members(members) = data {
        let members = std::mem::take(members);
        *data = Data::Named(name.clone(), location);
        plain.push(object(&definition, name, members));
    }
    plain.push(definition);
}

fn object(like: &Definition, name: String, members: Vec<Member>) -> Definition {
    Definition {
        name,
        doc: None,
        features: Vec::new(),
        kind: Kind::Struct {
            base: None,
            members,
        },
        ..like.clone()
    }
}

/// A type that is used, and therefore rendered: its name, and whether it is an array.
#[derive(Clone, PartialEq, Eq)]
struct Used {
    name: String,
    array: bool,
}

struct Rendering<'a> {
    schema: &'a Schema<'a>,
    /// The used types in the order of their first use.
    used: Vec<Used>,
    numbers: HashMap<String, usize>,
    /// The calls that build a `SchemaInfo` each.
    entries: Vec<String>,
}

impl<'a> Rendering<'a> {
    fn all(&mut self) {
        for definition in self.schema.definitions {
            match &definition.kind {
                Kind::Command(command) => self.command(definition, command),
                Kind::Event(data) => self.event(definition, data),
                _ => {}
            }
        }
        // Rendering a type adds the types that it uses.
        let mut next = 0;
        while let Some(used) = self.used.get(next).cloned() {
            self.rendered_type(&used);
            next += 1;
        }
    }

    fn command(&mut self, definition: &Definition, command: &Command) {
        let arguments = self.data(&command.data);
        let returns = match &command.returns {
            Some(of) => self.of(of),
            None => self.uses(EMPTY, false),
        };
        self.entries.push(format!(
            "command(\"{}\", \"{arguments}\", \"{returns}\", {}, {})",
            definition.name,
            command.allow_oob,
            features(&definition.features)
        ));
    }

    fn event(&mut self, definition: &Definition, data: &Data) {
        let data = self.data(data);
        self.entries.push(format!(
            "event(\"{}\", \"{data}\", {})",
            definition.name,
            features(&definition.features)
        ));
    }

    fn data(&mut self, data: &Data) -> String {
        match data {
            Data::Named(name, _) => self.uses(name, false),
            Data::Empty | Data::Members(_) => self.uses(EMPTY, false),
        }
    }

    fn of(&mut self, of: &Type) -> String {
        self.uses(&of.name, of.array)
    }

    /// Marks a type as used, and returns its name on the wire.
    fn uses(&mut self, name: &str, array: bool) -> String {
        let name = json_name(name);
        let used = Used {
            name: name.to_owned(),
            array,
        };
        if !self.used.contains(&used) {
            self.used.push(used);
        }
        if array {
            return format!("[{}]", self.uses(name, false));
        }
        if is_built_in(name) {
            return name.to_owned();
        }
        let next = self.numbers.len();
        self.numbers
            .entry(name.to_owned())
            .or_insert(next)
            .to_string()
    }

    fn rendered_type(&mut self, used: &Used) {
        let name = self.uses(&used.name, false);
        if used.array {
            self.entries.push(format!("array(\"{name}\")"));
            return;
        }
        let Some(definition) = self.schema.by_name.get(used.name.as_str()).copied() else {
            let json = json_type(&used.name);
            self.entries
                .push(format!("builtin(\"{name}\", crate::JSONType::{json})"));
            return;
        };
        let features = features(&definition.features);
        let entry = match &definition.kind {
            Kind::Enum(values) => format!(
                "enumeration(\"{name}\", {}, {features})",
                enum_members(values)
            ),
            Kind::Alternate(alternatives) => {
                let types: Vec<_> = alternatives
                    .iter()
                    .map(|alternative| format!("{:?}", self.of(&alternative.of)))
                    .collect();
                format!("alternate(\"{name}\", &[{}], {features})", types.join(", "))
            }
            Kind::Union(union) => {
                let members = self.members(&definition.name);
                let variants = self.variants(definition, union);
                format!(
                    "object(\"{name}\", {members}, Some((\"{}\", {variants})), {features})",
                    union.discriminator
                )
            }
            _ => {
                let members = self.members(&definition.name);
                format!("object(\"{name}\", {members}, None, {features})")
            }
        };
        self.entries.push(entry);
    }

    fn members(&mut self, name: &str) -> String {
        let members: Vec<_> = self
            .schema
            .all_members(name)
            .into_iter()
            .map(|(_, member)| {
                let of = self.of(&member.of);
                let features = features(&member.features);
                format!(
                    "(\"{}\", \"{of}\", {}, {features})",
                    member.name, member.optional
                )
            })
            .collect();
        format!("&[{}]", members.join(", "))
    }

    fn variants(&mut self, definition: &Definition, union: &Union) -> String {
        let mut variants: Vec<String> = union
            .branches
            .iter()
            .map(|Branch { name, of, .. }| format!("(\"{name}\", \"{}\")", self.of(of)))
            .collect();
        for value in self.schema.bare_values(definition, union) {
            let empty = self.uses(EMPTY, false);
            variants.push(format!("(\"{}\", \"{empty}\")", value.name));
        }
        format!("&[{}]", variants.join(", "))
    }
}

fn enum_members(values: &[EnumValue]) -> String {
    let members: Vec<_> = values
        .iter()
        .map(|value| format!("(\"{}\", {})", value.name, features(&value.features)))
        .collect();
    format!("&[{}]", members.join(", "))
}

fn features(features: &[Feature]) -> String {
    let is_shown = |feature: &&Feature| !DELIVERY_FEATURES.contains(&feature.name.as_str());
    let names: Vec<_> = features
        .iter()
        .filter(is_shown)
        .map(|feature| format!("\"{}\"", feature.name))
        .collect();
    format!("&[{}]", names.join(", "))
}

/// JSON has one integer type.
fn json_name(name: &str) -> &str {
    match name {
        "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64"
        | "size" => "int",
        name => name,
    }
}

/// The `JSONType` of a built-in type.
fn json_type(name: &str) -> String {
    name::camel(match name {
        "str" => "string",
        "bool" => "boolean",
        "any" => "value",
        name => name,
    })
}
