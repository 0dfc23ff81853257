//! Accessors: commands that follow from the schema's events.

use super::Schema;
use crate::definition::{Command, Data, Definition, Kind, Member, Type};
use crate::error::Location;
use crate::name;

/// Whether an accessor may be executed out of band.
pub(super) const ALLOW_OOB: bool = true;

/// An argument of an accessor; all are optional.
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) of: &'static str,
    pub(super) about: &'static str,
}

/// The arguments of an event's accessor.
pub(super) fn arguments<'a>(
    schema: &Schema<'a>,
    event: &'a Definition,
    data: &'a Data,
) -> Vec<Argument> {
    let device = schema.device(event, data).map(|_| Argument {
        name: "device",
        of: "str",
        about: "only events about this device",
    });
    let initial = Argument {
        name: "initial",
        of: "bool",
        about: "whether the current state, if there is one, is replayed first",
    };
    device.into_iter().chain([initial]).collect()
}

/// The accessor of an event, as a definition.
pub(super) fn definition<'a>(
    schema: &Schema<'a>,
    event: &'a Definition,
    data: &'a Data,
) -> Definition {
    let location = &event.location;
    let arguments = arguments(schema, event, data);
    let members = arguments.iter().map(|argument| Member {
        name: argument.name.to_owned(),
        optional: true,
        of: plain(argument.of, location),
        location: location.clone(),
        features: Vec::new(),
    });
    Definition {
        name: name::accessor(&event.name),
        location: location.clone(),
        module: event.module.clone(),
        doc: None,
        features: Vec::new(),
        boxed: false,
        kind: Kind::Command(Command {
            data: Data::Members(members.collect()),
            returns: Some(plain("int", location)),
            allow_oob: ALLOW_OOB,
            coroutine: false,
        }),
    }
}

fn plain(name: &str, location: &Location) -> Type {
    Type {
        name: name.to_owned(),
        array: false,
        location: location.clone(),
    }
}
