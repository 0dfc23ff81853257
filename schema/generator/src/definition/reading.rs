//! Turns a file's tree into definitions.

use super::{Branch, Command, Data, Definition, EnumValue, Feature, Kind, Member, Type, Union};
use crate::doc::Doc;
use crate::error::SchemaError;
use crate::node::{Node, Value};

/// The kinds of definition, by their first key.
const KINDS: [&str; 6] = ["enum", "struct", "union", "alternate", "command", "event"];

impl Definition {
    /// Reads an object at the top level of a file.
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
        let kind = fields.definition_kind()?;
        Ok(Self {
            name: name.text("a definition's name")?.to_owned(),
            location: node.location.clone(),
            module: module.to_owned(),
            doc,
            features: fields.features()?,
            boxed: fields.flag("boxed")?,
            kind,
        })
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

    fn text(&self, key: &str) -> Result<(&'a str, &'a Node), SchemaError> {
        let node = self.required(key)?;
        Ok((node.text(&format!("'{key}'"))?, node))
    }

    fn features(&self) -> Result<Vec<Feature>, SchemaError> {
        self.get("features")
            .map_or_else(|| Ok(Vec::new()), features)
    }

    /// A flag that defaults to off, and can only be set to on.
    fn flag(&self, key: &str) -> Result<bool, SchemaError> {
        match self.get(key) {
            None => Ok(false),
            Some(node) if node.bool(&format!("'{key}'"))? => Ok(true),
            Some(node) => Err(node
                .location
                .error(format!("'{key}' can only be true: leave it out"))),
        }
    }

    fn definition_kind(&self) -> Result<Kind, SchemaError> {
        match self.kind {
            "enum" => self.enumeration(),
            "struct" => self.structure(),
            "union" => self.union().map(Kind::Union),
            "alternate" => self.alternate(),
            "command" => self.command().map(Kind::Command),
            _ => self.event(),
        }
    }

    fn enumeration(&self) -> Result<Kind, SchemaError> {
        // A prefix only concerns C's constants.
        self.only(&["enum", "data", "features", "prefix"])?;
        Ok(Kind::Enum(enum_values(self.required("data")?)?))
    }

    fn structure(&self) -> Result<Kind, SchemaError> {
        self.only(&["struct", "data", "base", "features"])?;
        let base = self
            .get("base")
            .map(|base| base.text("'base'"))
            .transpose()?;
        Ok(Kind::Struct {
            base: base.map(str::to_owned),
            members: object_members(self.required("data")?)?,
        })
    }

    fn union(&self) -> Result<Union, SchemaError> {
        self.only(&["union", "data", "base", "discriminator", "features"])?;
        let base = self.required("base")?;
        let (discriminator, node) = self.text("discriminator")?;
        Ok(Union {
            base: match &base.value {
                Value::Text(name) => Data::Named(name.clone(), base.location.clone()),
                _ => Data::Members(object_members(base)?),
            },
            discriminator: discriminator.to_owned(),
            discriminator_location: node.location.clone(),
            branches: branches(self.required("data")?)?,
        })
    }

    fn alternate(&self) -> Result<Kind, SchemaError> {
        self.only(&["alternate", "data", "features"])?;
        let node = self.required("data")?;
        let branches = branches(node)?;
        if branches.is_empty() {
            return Err(node.location.error("an alternate needs alternatives"));
        }
        Ok(Kind::Alternate(branches))
    }

    fn command(&self) -> Result<Command, SchemaError> {
        self.only(&[
            "command",
            "data",
            "returns",
            "features",
            "allow-oob",
            "allow-preconfig",
            "boxed",
            "coroutine",
        ])?;
        let allow_oob = self.flag("allow-oob")?;
        // Has no effect here: the machine takes commands before its start.
        self.flag("allow-preconfig")?;
        let coroutine = self.flag("coroutine")?;
        if coroutine && allow_oob {
            let message = "'allow-oob' and 'coroutine' exclude each other";
            return Err(self.node.location.error(message));
        }
        Ok(Command {
            data: data(self)?,
            returns: self.get("returns").map(type_name).transpose()?,
            allow_oob,
            coroutine,
        })
    }

    fn event(&self) -> Result<Kind, SchemaError> {
        self.only(&["event", "data", "features", "boxed"])?;
        Ok(Kind::Event(data(self)?))
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
        return Err(node.location.error(unknown_key(key, of)));
    }
    Ok(())
}

/// Tells keys of the language that this generator lacks from unknown keys.
fn unknown_key(key: &str, of: &str) -> String {
    let why = match key {
        "if" => "what is defined is always there",
        "gen" => "arguments and answers of every command are typed",
        "success-response" => "every command answers",
        _ => return format!("'{of}' has no key '{key}'"),
    };
    format!("'{key}' is not supported by this generator: {why}")
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
                    features: fields.features()?,
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
                own_features = fields.features()?;
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

fn branches(node: &Node) -> Result<Vec<Branch>, SchemaError> {
    let mut result = Vec::new();
    for (name, value) in node.members("'data'")? {
        let of = match &value.value {
            Value::Object(members) => {
                only(members, &["type"], "branch")?;
                let fields = Fields {
                    kind: "branch",
                    node: value,
                    members,
                };
                type_name(fields.required("type")?)?
            }
            _ => type_name(value)?,
        };
        result.push(Branch {
            name: name.clone(),
            of,
            location: value.location.clone(),
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
