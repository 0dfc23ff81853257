//! Definitions: the model of a schema.
//!
//! `reading` makes the model from a file's tree.

mod reading;

use crate::REPLAYED_FEATURE;
use crate::doc::Doc;
use crate::error::Location;

/// A definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name in the schema.
    pub name: String,
    /// Where it is defined.
    pub location: Location,
    /// The file that defines it, without the extension.
    pub module: String,
    /// Its documentation.
    pub doc: Option<Doc>,
    /// Its features.
    pub features: Vec<Feature>,
    /// Whether the arguments or the data are passed as one value, and so may be a union.
    pub boxed: bool,
    /// The kind of definition, with its contents.
    pub kind: Kind,
}

/// A kind of definition.
#[derive(Clone, Debug)]
pub enum Kind {
    /// An enumeration, with its values.
    Enum(Vec<EnumValue>),
    /// An object type.
    Struct {
        /// The type whose members come first.
        base: Option<String>,
        /// Its own members.
        members: Vec<Member>,
    },
    /// An object type whose members depend on the value of one of them.
    Union(Union),
    /// A type that is one of several, told apart by the kind of JSON value.
    Alternate(Vec<Branch>),
    /// A command.
    Command(Command),
    /// An event.
    Event(Data),
}

/// An object type with branches.
#[derive(Clone, Debug)]
pub struct Union {
    /// The members common to all branches.
    pub base: Data,
    /// The member of the base that selects the branch.
    pub discriminator: String,
    /// Where the discriminator is named.
    pub discriminator_location: Location,
    /// The members that each value of the discriminator adds. A value without a branch adds none.
    pub branches: Vec<Branch>,
}

/// A branch of a union or of an alternate.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The value of the discriminator, or the name of the alternative.
    pub name: String,
    /// The type of its value.
    pub of: Type,
    /// Where it is defined.
    pub location: Location,
}

/// The arguments and the answer of a command.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its arguments.
    pub data: Data,
    /// The type of its answer.
    pub returns: Option<Type>,
    /// Whether it may be executed out of band.
    pub allow_oob: bool,
    /// Whether it is deferred: answered when it has had its effect.
    pub coroutine: bool,
}

/// The members of a command's arguments, an event's data or a union's base.
#[derive(Clone, Debug)]
pub enum Data {
    /// None.
    Empty,
    /// Defined inline.
    Members(Vec<Member>),
    /// The members of a named object type.
    Named(String, Location),
}

/// A value of an enumeration.
#[derive(Clone, Debug)]
pub struct EnumValue {
    /// Its name on the wire.
    pub name: String,
    /// Where it is defined.
    pub location: Location,
    /// Its features.
    pub features: Vec<Feature>,
}

/// A member of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name on the wire.
    pub name: String,
    /// Whether it may be absent.
    pub optional: bool,
    /// The type of its value.
    pub of: Type,
    /// Where it is defined.
    pub location: Location,
    /// Its features.
    pub features: Vec<Feature>,
}

/// A feature.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub location: Location,
}

/// A type by name, or an array of it.
#[derive(Clone, Debug)]
pub struct Type {
    /// The name of the type, or of the element type.
    pub name: String,
    /// Whether it is an array.
    pub array: bool,
    /// Where it is named.
    pub location: Location,
}

impl Definition {
    /// Whether the definition has a feature.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name)
    }

    /// The values of an enum for which an event is replayed.
    pub(crate) fn replayed_values(&self) -> impl Iterator<Item = &EnumValue> {
        let values = match &self.kind {
            Kind::Enum(values) => values.as_slice(),
            _ => &[],
        };
        let is_replayed = |value: &&EnumValue| {
            let mut features = value.features.iter();
            features.any(|feature| feature.name == REPLAYED_FEATURE)
        };
        values.iter().filter(is_replayed)
    }

    /// The members that the definition states itself.
    #[must_use]
    pub fn own_members(&self) -> &[Member] {
        match &self.kind {
            Kind::Struct { members, .. }
            | Kind::Command(Command {
                data: Data::Members(members),
                ..
            })
            | Kind::Union(Union {
                base: Data::Members(members),
                ..
            })
            | Kind::Event(Data::Members(members)) => members,
            _ => &[],
        }
    }
}
