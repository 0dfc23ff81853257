//! Introspection: the schema described in its own types.
//!
//! The generator calls a function of this module for each entity. What an entity looks like is written here, where the
//! compiler checks it.

use std::sync::LazyLock;

use serde_json::Value;

use crate::generated::entities;
use crate::{
    JSONType, SchemaInfo, SchemaInfoAlternate, SchemaInfoAlternateMember, SchemaInfoArray,
    SchemaInfoBranch, SchemaInfoBuiltin, SchemaInfoCommand, SchemaInfoEnum, SchemaInfoEnumMember,
    SchemaInfoEvent, SchemaInfoObject, SchemaInfoObjectMember, SchemaInfoObjectVariant,
};

type Features = &'static [&'static str];

/// Describes every command, event and type: the answer to `query-qmp-schema`.
#[must_use]
pub fn introspection() -> &'static [SchemaInfo] {
    static ENTITIES: LazyLock<Vec<SchemaInfo>> = LazyLock::new(entities);
    &ENTITIES
}

pub(crate) fn command(
    name: &str,
    arguments: &str,
    returns: &str,
    allow_oob: bool,
    features: Features,
) -> SchemaInfo {
    let command = SchemaInfoCommand {
        arg_type: arguments.to_owned(),
        ret_type: returns.to_owned(),
        allow_oob: allow_oob.then_some(true),
    };
    info(name, SchemaInfoBranch::Command(command), features)
}

pub(crate) fn event(name: &str, data: &str, features: Features) -> SchemaInfo {
    let arg_type = data.to_owned();
    let event = SchemaInfoEvent { arg_type };
    info(name, SchemaInfoBranch::Event(event), features)
}

pub(crate) fn builtin(name: &str, json_type: JSONType) -> SchemaInfo {
    let builtin = SchemaInfoBuiltin { json_type };
    info(name, SchemaInfoBranch::Builtin(builtin), &[])
}

pub(crate) fn array(element: &str) -> SchemaInfo {
    let array = SchemaInfoArray {
        element_type: element.to_owned(),
    };
    let name = format!("[{element}]");
    info(&name, SchemaInfoBranch::Array(array), &[])
}

pub(crate) fn enumeration(
    name: &str,
    values: &[(&str, Features)],
    features: Features,
) -> SchemaInfo {
    let members = values
        .iter()
        .map(|(name, features)| SchemaInfoEnumMember {
            name: (*name).to_owned(),
            features: listed(features),
        })
        .collect();
    let values = values.iter().map(|(name, _)| (*name).to_owned()).collect();
    let enumeration = SchemaInfoEnum { members, values };
    info(name, SchemaInfoBranch::Enum(enumeration), features)
}

/// Each member has a name, a type, whether it is optional, and features.
pub(crate) fn object(
    name: &str,
    members: &[(&str, &str, bool, Features)],
    variants: Option<(&str, &[(&str, &str)])>,
    features: Features,
) -> SchemaInfo {
    let members = members
        .iter()
        .map(|(name, of, optional, features)| SchemaInfoObjectMember {
            name: (*name).to_owned(),
            r#type: (*of).to_owned(),
            default: optional.then_some(Value::Null),
            features: listed(features),
        })
        .collect();
    let cases = variants.map(|(_, cases)| {
        let variant = |(case, of): &(&str, &str)| SchemaInfoObjectVariant {
            case: (*case).to_owned(),
            r#type: (*of).to_owned(),
        };
        cases.iter().map(variant).collect()
    });
    let object = SchemaInfoObject {
        members,
        tag: variants.map(|(tag, _)| tag.to_owned()),
        variants: cases,
    };
    info(name, SchemaInfoBranch::Object(object), features)
}

// Not every schema has alternates.
#[allow(dead_code)]
pub(crate) fn alternate(name: &str, types: &[&str], features: Features) -> SchemaInfo {
    let members = types
        .iter()
        .map(|of| SchemaInfoAlternateMember {
            r#type: (*of).to_owned(),
        })
        .collect();
    let alternate = SchemaInfoAlternate { members };
    info(name, SchemaInfoBranch::Alternate(alternate), features)
}

fn info(name: &str, meta_type: SchemaInfoBranch, features: Features) -> SchemaInfo {
    SchemaInfo {
        name: name.to_owned(),
        features: listed(features),
        meta_type,
    }
}

fn listed(features: Features) -> Option<Vec<String>> {
    let names = features.iter().map(|name| (*name).to_owned());
    (!features.is_empty()).then(|| names.collect())
}
