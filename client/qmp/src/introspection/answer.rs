//! The answer to `query-qmp-schema` on the wire.

use serde::Deserialize;
use serde_json::Value;

use super::{Command, Introspection, IntrospectionError, Member, Object, Scalar, Type};

/// An entry of the list.
#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(flatten)]
    meta_type: MetaType,
}

#[derive(Deserialize)]
#[serde(
    tag = "meta-type",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
enum MetaType {
    Builtin {
        json_type: String,
    },
    Enum {
        /// Since QEMU 6.2.
        #[serde(default)]
        members: Vec<Named>,
        #[serde(default)]
        values: Vec<String>,
    },
    Array {
        element_type: String,
    },
    Object {
        #[serde(default)]
        members: Vec<ObjectMember>,
        tag: Option<String>,
        #[serde(default)]
        variants: Vec<Variant>,
    },
    Alternate {
        members: Vec<Typed>,
    },
    Command {
        arg_type: String,
        ret_type: String,
        #[serde(default)]
        allow_oob: bool,
    },
    Event {
        arg_type: String,
    },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    of: String,
}

#[derive(Deserialize)]
struct Variant {
    case: String,
    #[serde(rename = "type")]
    of: String,
}

#[derive(Deserialize)]
struct ObjectMember {
    name: String,
    #[serde(rename = "type")]
    of: String,
    /// Present, with the value null, if the member is optional.
    #[serde(default, deserialize_with = "present")]
    default: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

pub fn read(answer: Value) -> Result<Introspection, IntrospectionError> {
    let Value::Array(entries) = answer else {
        return Err(IntrospectionError::NoList);
    };
    let mut introspection = Introspection::default();
    for entry in entries {
        if let Ok(entry) = serde_json::from_value(entry) {
            introspection.add(entry);
        }
    }
    if introspection.commands.is_empty() {
        return Err(IntrospectionError::NoCommand);
    }
    Ok(introspection)
}

impl Introspection {
    fn add(&mut self, entry: Entry) {
        let name = entry.name;
        let of = match entry.meta_type {
            MetaType::Command {
                arg_type,
                ret_type,
                allow_oob,
            } => {
                let command = Command {
                    arguments: arg_type,
                    returns: ret_type,
                    allow_oob,
                    features: entry.features,
                };
                self.commands.insert(name, command);
                return;
            }
            MetaType::Event { arg_type } => {
                self.events.insert(name, arg_type);
                return;
            }
            MetaType::Builtin { json_type } => builtin(&json_type),
            MetaType::Enum { members, values } if members.is_empty() => Type::Enumeration(values),
            MetaType::Enum { members, .. } => {
                Type::Enumeration(members.into_iter().map(|member| member.name).collect())
            }
            MetaType::Array { element_type } => Type::Array(element_type),
            MetaType::Object {
                members,
                tag,
                variants,
            } => Type::Object(object(members, tag, variants)),
            MetaType::Alternate { members } => {
                Type::Alternate(members.into_iter().map(|member| member.of).collect())
            }
        };
        self.types.insert(name, of);
    }
}

fn builtin(json_type: &str) -> Type {
    Type::Scalar(match json_type {
        "string" => Scalar::String,
        "number" => Scalar::Number,
        "int" => Scalar::Integer,
        "boolean" => Scalar::Boolean,
        "null" => Scalar::Null,
        _ => return Type::Any,
    })
}

fn object(members: Vec<ObjectMember>, tag: Option<String>, variants: Vec<Variant>) -> Object {
    let member = |member: ObjectMember| Member {
        name: member.name,
        of: member.of,
        optional: member.default,
    };
    let variant = |variant: Variant| (variant.case, variant.of);
    Object {
        members: members.into_iter().map(member).collect(),
        tag,
        variants: variants.into_iter().map(variant).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use serde_json::json;

    #[test]
    fn the_whole_of_faultvisors_own_schema_is_understood() {
        let introspection = samples::faultvisor();
        let named = |entry: &&faultvisor_schema::SchemaInfo| {
            matches!(
                entry.meta_type,
                faultvisor_schema::SchemaInfoBranch::Command(_)
            )
        };
        let commands = faultvisor_schema::introspection().iter().filter(named);
        assert_eq!(introspection.commands.len(), commands.count());
        let resize = introspection.command("block_resize").unwrap();
        let Type::Object(arguments) = introspection.type_of(&resize.arguments) else {
            panic!("no object");
        };
        let size = arguments
            .members
            .iter()
            .find(|member| member.name == "size");
        let size = size.unwrap();
        assert!(!size.optional);
        assert_eq!(
            introspection.type_of(&size.of),
            &Type::Scalar(Scalar::Integer)
        );
        let device = arguments
            .members
            .iter()
            .find(|member| member.name == "device");
        assert!(device.unwrap().optional);
        assert!(introspection.event_type("BLOCK_IO_ERROR").is_some());
    }

    #[test]
    fn invalid_entries_are_skipped() {
        let answer = json!([
            {"name": "a", "meta-type": "command", "arg-type": "0", "ret-type": "0"},
            {"name": "b", "meta-type": "wonder"},
            {"name": "c", "meta-type": "command", "arg-type": 7},
            {"meta-type": "event"}, null, 1, "x", [],
        ]);
        let introspection = Introspection::from_answer(answer).unwrap();
        assert_eq!(introspection.command_names().collect::<Vec<_>>(), ["a"]);
        // The arguments' type is unknown.
        assert_eq!(introspection.type_of("0"), &Type::Any);
    }

    #[test]
    fn an_answer_without_commands_is_refused() {
        let read = |answer| Introspection::from_answer(answer).unwrap_err();
        assert_eq!(read(json!({})), IntrospectionError::NoList);
        assert_eq!(read(json!([1])), IntrospectionError::NoCommand);
    }

    #[test]
    fn an_unknown_command_is_named_with_the_nearest() {
        let unknown = samples::faultvisor().command("blok_resize").unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "CommandNotFound: the server has no command 'blok_resize'; did you mean 'block_resize'?"
        );
    }
}
