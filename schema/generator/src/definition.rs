//! What a schema defines.

use crate::doc::Doc;
use crate::error::{Location, SchemaError};
use crate::node::{Node, Value};

/// A definition, with where it comes from.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The name in the schema.
    pub name: String,
    /// Where it is defined.
    pub location: Location,
    /// The file, without its extension.
    pub module: String,
    /// Its documentation.
    pub doc: Option<Doc>,
    /// What it is said to have, by name.
    pub features: Vec<Feature>,
    /// What it is.
    pub kind: Kind,
}

/// What a definition defines.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A type with a value from a list.
    Enum(Vec<EnumValue>),
    /// An object type.
    Struct {
        /// The type whose members come first.
        base: Option<String>,
        /// Its own members.
        members: Vec<Member>,
    },
    /// A command.
    Command(Command),
    /// An event.
    Event(Data),
}

/// What a command takes and gives.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its arguments.
    pub data: Data,
    /// What it answers with.
    pub returns: Option<Type>,
    /// Whether it may be executed out of band.
    pub allow_oob: bool,
}

/// The members of a command's arguments or an event's data.
#[derive(Clone, Debug)]
pub enum Data {
    /// None.
    Empty,
    /// Stated where they are used.
    Members(Vec<Member>),
    /// Those of an object type.
    Named(String, Location),
}

/// A value of an enumeration.
#[derive(Clone, Debug)]
pub struct EnumValue {
    /// As it is on the wire.
    pub name: String,
    /// Where it stands.
    pub location: Location,
    /// Its features.
    pub features: Vec<Feature>,
}

/// A member of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// As it is on the wire.
    pub name: String,
    /// Whether it may be absent.
    pub optional: bool,
    /// What it holds.
    pub of: Type,
    /// Where it stands.
    pub location: Location,
    /// Its features.
    pub features: Vec<Feature>,
}

/// A feature.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: Location,
}

/// A type by name, or an array of it.
#[derive(Clone, Debug)]
pub struct Type {
    /// The name of the type, or of the elements' type.
    pub name: String,
    /// Whether it is an array.
    pub array: bool,
    /// Where it is named.
    pub location: Location,
}

/// The kinds of definition, by the key that starts them.
const KINDS: [&str; 6] = ["enum", "struct", "union", "alternate", "command", "event"];

impl Definition {
    /// Gives an object at the top of a file its meaning.
    pub(crate) fn from_node(
        node: &Node,
        module: &str,
        doc: Option<Doc>,
    ) -> Result<Self, SchemaError> {
        let members = node.members("a definition")?;
        let mut kinds = members
            .iter()
            .filter(|(key, _)| KINDS.contains(&key.as_str()));
        let Some((kind, name)) = kinds.next() else {
            return Err(node.location.error(
                "a definition needs one of the keys 'enum', 'struct', \
                'union', 'alternate', 'command', 'event', 'include' or 'pragma'",
            ));
        };
        if let Some((other, _)) = kinds.next() {
            return Err(node
                .location
                .error(format!("a definition cannot be '{kind}' and '{other}'")));
        }
        let fields = Fields {
            kind,
            node,
            members,
        };
        let kind = match kind.as_str() {
            "enum" => {
                fields.only(&["enum", "data", "features"])?;
                Kind::Enum(enum_values(fields.required("data")?)?)
            }
            "struct" => {
                fields.only(&["struct", "data", "base", "features"])?;
                let base = fields
                    .get("base")
                    .map(|base| base.text("'base'"))
                    .transpose()?;
                let members = object_members(fields.required("data")?)?;
                Kind::Struct {
                    base: base.map(str::to_owned),
                    members,
                }
            }
            "command" => {
                fields.only(&[
                    "command",
                    "data",
                    "returns",
                    "features",
                    "allow-oob",
                    "allow-preconfig",
                    "boxed",
                    "coroutine",
                ])?;
                Kind::Command(Command {
                    data: data(&fields)?,
                    returns: fields.get("returns").map(type_name).transpose()?,
                    allow_oob: fields.flag("allow-oob")?,
                })
            }
            "event" => {
                fields.only(&["event", "data", "features", "boxed"])?;
                Kind::Event(data(&fields)?)
            }
            other => {
                let message = format!("'{other}' is not supported by this generator yet");
                return Err(node.location.error(message));
            }
        };
        Ok(Self {
            name: name.text("a definition's name")?.to_owned(),
            location: node.location.clone(),
            module: module.to_owned(),
            doc,
            features: fields
                .get("features")
                .map(features)
                .transpose()?
                .unwrap_or_default(),
            kind,
        })
    }

    /// Whether the definition has a feature.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name)
    }
}

/// The keys of a definition.
struct Fields<'a> {
    kind: &'a str,
    node: &'a Node,
    members: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.members
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    fn required(&self, key: &str) -> Result<&'a Node, SchemaError> {
        self.get(key).ok_or_else(|| {
            self.node
                .location
                .error(format!("'{}' lacks the key '{key}'", self.kind))
        })
    }

    fn flag(&self, key: &str) -> Result<bool, SchemaError> {
        match self.get(key) {
            Some(node) => node.bool(&format!("'{key}'")),
            None => Ok(false),
        }
    }

    fn only(&self, known: &[&str]) -> Result<(), SchemaError> {
        only(self.members, known, self.kind)
    }
}

fn only(members: &[(String, Node)], known: &[&str], of: &str) -> Result<(), SchemaError> {
    for (key, node) in members {
        if known.contains(&key.as_str()) {
            continue;
        }
        let message = match key.as_str() {
            "if" | "gen" | "success-response" | "prefix" => {
                format!("'{key}' is not supported by this generator yet")
            }
            _ => format!("'{of}' has no key '{key}'"),
        };
        return Err(node.location.error(message));
    }
    Ok(())
}

fn data(fields: &Fields<'_>) -> Result<Data, SchemaError> {
    let boxed = fields.flag("boxed")?;
    match fields.get("data") {
        None if boxed => Err(fields.node.location.error("'boxed' needs 'data'")),
        None => Ok(Data::Empty),
        Some(node) => match &node.value {
            Value::Text(name) => Ok(Data::Named(name.clone(), node.location.clone())),
            _ if boxed => Err(node.location.error("'boxed' needs 'data' to name a type")),
            _ => match object_members(node)? {
                members if members.is_empty() => Ok(Data::Empty),
                members => Ok(Data::Members(members)),
            },
        },
    }
}

fn enum_values(node: &Node) -> Result<Vec<EnumValue>, SchemaError> {
    let mut values = Vec::new();
    for value in node.list("'data' of an enum")? {
        let location = value.location.clone();
        values.push(match &value.value {
            Value::Text(name) => EnumValue {
                name: name.clone(),
                location,
                features: Vec::new(),
            },
            Value::Object(members) => {
                only(members, &["name", "features"], "value")?;
                let fields = Fields {
                    kind: "value",
                    node: value,
                    members,
                };
                EnumValue {
                    name: fields.required("name")?.text("a value's name")?.to_owned(),
                    location,
                    features: fields
                        .get("features")
                        .map(features)
                        .transpose()?
                        .unwrap_or_default(),
                }
            }
            _ => return Err(location.error("a value of an enum must be a string or an object")),
        });
    }
    Ok(values)
}

fn object_members(node: &Node) -> Result<Vec<Member>, SchemaError> {
    let mut result = Vec::new();
    for (key, value) in node.members("'data'")? {
        let (name, optional) = match key.strip_prefix('*') {
            Some(name) => (name, true),
            None => (key.as_str(), false),
        };
        let mut own_features = Vec::new();
        let of = match &value.value {
            Value::Object(members) => {
                only(members, &["type", "features"], "member")?;
                let fields = Fields {
                    kind: "member",
                    node: value,
                    members,
                };
                if let Some(node) = fields.get("features") {
                    own_features = features(node)?;
                }
                type_name(fields.required("type")?)?
            }
            _ => type_name(value)?,
        };
        let location = value.location.clone();
        result.push(Member {
            name: name.to_owned(),
            optional,
            of,
            location,
            features: own_features,
        });
    }
    Ok(result)
}

fn type_name(node: &Node) -> Result<Type, SchemaError> {
    let location = node.location.clone();
    match &node.value {
        Value::Text(name) => Ok(Type {
            name: name.clone(),
            array: false,
            location,
        }),
        Value::List(elements) => match elements.as_slice() {
            [element] => {
                let name = element.text("the type of an array's elements")?.to_owned();
                Ok(Type {
                    name,
                    array: true,
                    location,
                })
            }
            _ => Err(location.error("an array type names exactly one type")),
        },
        _ => Err(location.error("expected the name of a type, or an array of one")),
    }
}

fn features(node: &Node) -> Result<Vec<Feature>, SchemaError> {
    let mut result: Vec<Feature> = Vec::new();
    for element in node.list("'features'")? {
        let name = match &element.value {
            Value::Object(members) => {
                only(members, &["name"], "feature")?;
                Fields {
                    kind: "feature",
                    node: element,
                    members,
                }
                .required("name")?
                .text("a feature's name")?
            }
            _ => element.text("a feature")?,
        };
        if result.iter().any(|feature| feature.name == name) {
            return Err(element
                .location
                .error(format!("feature '{name}' is there twice")));
        }
        result.push(Feature {
            name: name.to_owned(),
            location: element.location.clone(),
        });
    }
    Ok(result)
}
