//! The part of a schema that shows on the wire.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use faultvisor_qapi_generator::definition::{self, Data, Kind};
use faultvisor_qapi_generator::{DELIVERY_FEATURES, Definition};

/// The type without members.
const NOTHING: &str = "nothing";

/// Why a schema cannot be modelled.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It is not valid QAPI.
    #[error("the schema cannot be read")]
    Unreadable(#[from] faultvisor_qapi_generator::SchemaError),
    /// It uses a type that it does not define.
    #[error("the schema has no type '{0}'")]
    NoType(String),
}

/// A schema. Types are identified by name; inline members get a named type.
#[derive(Debug, Default)]
pub struct Model {
    types: HashMap<String, Shape>,
    commands: BTreeMap<String, Command>,
    events: BTreeMap<String, Event>,
}

/// The form of a type's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Anything.
    Any,
    /// `null`.
    Null,
    /// A string.
    Text,
    /// `true` or `false`.
    Boolean,
    /// An integer, from the first to the second, inclusive.
    Integer(i128, i128),
    /// A number.
    Number,
    /// One of these strings.
    Enumeration(Vec<Value>),
    /// An array of this type.
    Array(String),
    /// Members by name.
    Object {
        /// The common members.
        members: Vec<Member>,
        /// Members that depend on the discriminator.
        variants: Option<Variants>,
    },
    /// One of these types.
    Alternate(Vec<String>),
}

/// A value of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As on the wire.
    pub name: String,
    /// Such as `deprecated`.
    pub features: Vec<String>,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As on the wire.
    pub name: String,
    /// Its type.
    pub of: String,
    /// Whether it may be absent.
    pub optional: bool,
    /// Such as `deprecated`.
    pub features: Vec<String>,
}

/// Members that a union's discriminator selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants {
    /// The discriminator.
    pub tag: String,
    /// The type that each value adds. A value that is absent adds nothing.
    pub cases: BTreeMap<String, String>,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// The type of its arguments.
    pub arguments: String,
    /// The type of its answer.
    pub returns: String,
    /// Whether it may be executed out of band.
    pub allow_oob: bool,
    /// Such as `deprecated`.
    pub features: Vec<String>,
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// The type of its data.
    pub data: String,
    /// Such as `deprecated`.
    pub features: Vec<String>,
}

impl Model {
    /// Reads this project's schema.
    ///
    /// # Errors
    ///
    /// The first error in it.
    pub fn own(path: &Path) -> Result<Self, ModelError> {
        Self::of(&faultvisor_qapi_generator::load(path)?.definitions)
    }

    /// Reads QEMU's schema.
    ///
    /// # Errors
    ///
    /// The first construct that is not valid QAPI.
    pub fn foreign(path: &Path) -> Result<Self, ModelError> {
        Self::of(&faultvisor_qapi_generator::load_foreign(path)?.definitions)
    }

    /// The commands by name.
    pub fn commands(&self) -> &BTreeMap<String, Command> {
        &self.commands
    }

    /// The events by name.
    pub fn events(&self) -> &BTreeMap<String, Event> {
        &self.events
    }

    /// The names of the named types, without the built-in ones.
    pub fn type_names(&self) -> Vec<&str> {
        let names = self.types.keys().map(String::as_str);
        let is_named =
            |name: &&str| name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains(' ');
        let mut names: Vec<&str> = names.filter(is_named).collect();
        names.sort_unstable();
        names
    }

    /// The form of a type's values: anything, for a name that is not in this model.
    pub fn shape(&self, name: &str) -> &Shape {
        self.types.get(name).unwrap_or(&Shape::Any)
    }

    fn of(definitions: &[Definition]) -> Result<Self, ModelError> {
        let mut model = Self::default();
        model.types.extend(built_in());
        for definition in definitions {
            model.add(definition, definitions)?;
        }
        model.arrays()?;
        Ok(model)
    }

    fn add(&mut self, definition: &Definition, all: &[Definition]) -> Result<(), ModelError> {
        let name = &definition.name;
        let shape = match &definition.kind {
            Kind::Command(command) => {
                let returns = command.returns.as_ref();
                let command = Command {
                    arguments: self.data(&command.data, &format!("arguments of {name}")),
                    returns: returns.map_or_else(|| NOTHING.to_owned(), type_name),
                    allow_oob: command.allow_oob,
                    features: features(&definition.features),
                };
                self.commands.insert(name.clone(), command);
                return Ok(());
            }
            Kind::Event(data) => {
                let event = Event {
                    data: self.data(data, &format!("data of {name}")),
                    features: features(&definition.features),
                };
                self.events.insert(name.clone(), event);
                return Ok(());
            }
            Kind::Enum(values) => Shape::Enumeration(values.iter().map(Value::of).collect()),
            Kind::Struct { .. } => Shape::Object {
                members: members_of(name, all)?,
                variants: None,
            },
            Kind::Union(union) => Shape::Object {
                members: match &union.base {
                    Data::Empty => Vec::new(),
                    Data::Members(members) => members.iter().map(Member::of).collect(),
                    Data::Named(base, _) => members_of(base, all)?,
                },
                variants: Some(Variants {
                    tag: union.discriminator.clone(),
                    cases: union.branches.iter().map(case).collect(),
                }),
            },
            Kind::Alternate(branches) => Shape::Alternate(
                branches
                    .iter()
                    .map(|branch| type_name(&branch.of))
                    .collect(),
            ),
        };
        self.types.insert(name.clone(), shape);
        Ok(())
    }

    /// The type of arguments or of data, which is called `name` if the members are inline.
    fn data(&mut self, data: &Data, name: &str) -> String {
        let members = match data {
            Data::Empty => return NOTHING.to_owned(),
            Data::Named(of, _) => return of.clone(),
            Data::Members(members) => members.iter().map(Member::of).collect(),
        };
        let variants = None;
        let object = Shape::Object { members, variants };
        self.types.insert(name.to_owned(), object);
        name.to_owned()
    }

    /// Adds the array types in use, and checks that every other type is defined.
    fn arrays(&mut self) -> Result<(), ModelError> {
        let mut used: Vec<String> = Vec::new();
        for shape in self.types.values() {
            match shape {
                Shape::Object { members, variants } => {
                    used.extend(members.iter().map(|member| member.of.clone()));
                    used.extend(variants.iter().flat_map(|of| of.cases.values().cloned()));
                }
                Shape::Alternate(types) => used.extend(types.iter().cloned()),
                _ => {}
            }
        }
        let commands = self.commands.values();
        used.extend(
            commands.flat_map(|command| [&command.arguments, &command.returns].map(Clone::clone)),
        );
        used.extend(self.events.values().map(|event| event.data.clone()));
        for name in used {
            let element = name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'));
            let element = element.map(str::to_owned);
            let known = element.as_ref().unwrap_or(&name);
            if !self.types.contains_key(known) {
                return Err(ModelError::NoType(known.clone()));
            }
            if let Some(element) = element {
                self.types.insert(name, Shape::Array(element));
            }
        }
        Ok(())
    }
}

impl Value {
    fn of(value: &definition::EnumValue) -> Self {
        Self {
            name: value.name.clone(),
            features: features(&value.features),
        }
    }
}

impl Member {
    fn of(member: &definition::Member) -> Self {
        Self {
            name: member.name.clone(),
            of: type_name(&member.of),
            optional: member.optional,
            features: features(&member.features),
        }
    }
}

fn built_in() -> impl Iterator<Item = (String, Shape)> {
    let integer = |bits: u32, is_signed: bool| match is_signed {
        true => Shape::Integer(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => Shape::Integer(0, (1 << bits) - 1),
    };
    let nothing = Shape::Object {
        members: Vec::new(),
        variants: None,
    };
    let types = [
        (NOTHING, nothing),
        ("str", Shape::Text),
        ("number", Shape::Number),
        ("bool", Shape::Boolean),
        ("null", Shape::Null),
        ("any", Shape::Any),
        // QEMU's alone: no client sees a value of it.
        ("QType", Shape::Any),
        ("int", integer(64, true)),
        ("int8", integer(8, true)),
        ("int16", integer(16, true)),
        ("int32", integer(32, true)),
        ("int64", integer(64, true)),
        ("uint8", integer(8, false)),
        ("uint16", integer(16, false)),
        ("uint32", integer(32, false)),
        ("uint64", integer(64, false)),
        ("size", integer(64, false)),
    ];
    types
        .into_iter()
        .map(|(name, shape)| (name.to_owned(), shape))
}

/// The members of a struct, its bases' first.
fn members_of(name: &str, all: &[Definition]) -> Result<Vec<Member>, ModelError> {
    let definition = all.iter().find(|definition| definition.name == name);
    match definition.map(|definition| &definition.kind) {
        Some(Kind::Struct { base, members }) => {
            let mut inherited = match base {
                Some(base) => members_of(base, all)?,
                None => Vec::new(),
            };
            inherited.extend(members.iter().map(Member::of));
            Ok(inherited)
        }
        _ => Err(ModelError::NoType(name.to_owned())),
    }
}

fn case(branch: &definition::Branch) -> (String, String) {
    (branch.name.clone(), type_name(&branch.of))
}

fn type_name(of: &definition::Type) -> String {
    match of.array {
        true => format!("[{}]", of.name),
        false => of.name.clone(),
    }
}

/// The features that a client is shown: those of delivery are not on the wire.
fn features(features: &[definition::Feature]) -> Vec<String> {
    let is_shown = |feature: &&definition::Feature| !DELIVERY_FEATURES.contains(&&*feature.name);
    features
        .iter()
        .filter(is_shown)
        .map(|feature| feature.name.clone())
        .collect()
}
