//! What a schema defines.
//!
//! The model is here; `reading` makes it of the tree of a file.

mod reading;

use crate::REPLAYED_FEATURE;
use crate::doc::Doc;
use crate::error::Location;

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
    /// Whether what a command or an event carries is one value, and so may have branches.
    pub boxed: bool,
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
    /// An object type whose members depend on the value of one of them.
    Union(Union),
    /// A type that is one of several, told apart by what is on the wire.
    Alternate(Vec<Branch>),
    /// A command.
    Command(Command),
    /// An event.
    Event(Data),
}

/// An object type with branches.
#[derive(Clone, Debug)]
pub struct Union {
    /// The members of every branch.
    pub base: Data,
    /// The member of the base that says which branch it is.
    pub discriminator: String,
    /// Where the discriminator is named.
    pub discriminator_location: Location,
    /// What each value of the discriminator adds; a value that is not here adds nothing.
    pub branches: Vec<Branch>,
}

/// A branch of a union or of an alternate.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The value of the discriminator, or the name of the alternative.
    pub name: String,
    /// What it holds.
    pub of: Type,
    /// Where it stands.
    pub location: Location,
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
    /// Whether it takes time: whoever executes it answers later.
    pub coroutine: bool,
}

/// The members of a command's arguments, an event's data or a union's base.
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

impl Definition {
    /// Whether the definition has a feature.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name)
    }

    /// The values of an enum with which an event is replayed.
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

    /// The members that are stated in it.
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
