//! The introspection is complete and consistent.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use faultvisor_schema::*;
use serde_json::{Value, json};

fn of_kind(kind: SchemaMetaType) -> impl Iterator<Item = &'static SchemaInfo> {
    introspection()
        .iter()
        .filter(move |entity| entity.meta_type.tag() == kind)
}

fn entity(name: &str) -> &'static SchemaInfo {
    introspection()
        .iter()
        .find(|entity| entity.name == name)
        .unwrap_or_else(|| panic!("'{name}' is not described"))
}

fn object(name: &str) -> &'static SchemaInfoObject {
    match &entity(name).meta_type {
        SchemaInfoBranch::Object(object) => object,
        other => panic!("'{name}' is {other:?}"),
    }
}

fn arguments(command: &str) -> BTreeMap<&'static str, &'static SchemaInfoObjectMember> {
    let SchemaInfoBranch::Command(command) = &entity(command).meta_type else {
        panic!("'{command}' is no command")
    };
    object(&command.arg_type)
        .members
        .iter()
        .map(|member| (member.name.as_str(), member))
        .collect()
}

/// The types that an entity refers to.
fn uses(entity: &SchemaInfo) -> Vec<&str> {
    match &entity.meta_type {
        SchemaInfoBranch::Builtin(_) | SchemaInfoBranch::Enum(_) => Vec::new(),
        SchemaInfoBranch::Array(array) => vec![&array.element_type],
        SchemaInfoBranch::Object(object) => {
            let members = object.members.iter().map(|m| m.r#type.as_str());
            let variants = object.variants.iter().flatten();
            members.chain(variants.map(|v| v.r#type.as_str())).collect()
        }
        SchemaInfoBranch::Alternate(alternate) => alternate
            .members
            .iter()
            .map(|m| m.r#type.as_str())
            .collect(),
        SchemaInfoBranch::Command(command) => vec![&command.arg_type, &command.ret_type],
        SchemaInfoBranch::Event(event) => vec![&event.arg_type],
    }
}

#[test]
fn every_command_is_described_with_its_band() {
    let described: BTreeMap<_, _> = of_kind(SchemaMetaType::Command)
        .map(|entity| match &entity.meta_type {
            SchemaInfoBranch::Command(command) => (entity.name.as_str(), command.allow_oob),
            _ => unreachable!(),
        })
        .collect();
    let table: BTreeMap<_, _> = COMMANDS
        .iter()
        .map(|entry| (entry.name, entry.allow_oob.then_some(true)))
        .collect();
    assert_eq!(described, table);
}

#[test]
fn every_event_is_described_and_every_signal_is_one() {
    let described: BTreeSet<_> = of_kind(SchemaMetaType::Event)
        .map(|entity| entity.name.as_str())
        .collect();
    for signal in SignalName::ALL {
        assert!(described.contains(signal.name()), "{}", signal.name());
    }
    let notices: Vec<_> = of_kind(SchemaMetaType::Event)
        .filter(|entity| entity.features.iter().flatten().any(|f| f == "notice"))
        .collect();
    assert_eq!(described.len(), SignalName::ALL.len() + notices.len());
}

#[test]
fn features_of_delivery_are_not_described() {
    for entity in introspection() {
        let text = serde_json::to_string(entity).unwrap();
        for feature in ["rate-limited", "\"replayed\"", "ends-replay"] {
            assert!(!text.contains(feature), "{text}");
        }
    }
}

#[test]
fn every_used_type_is_described_once_and_no_other() {
    let names: BTreeSet<&str> = introspection().iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names.len(), introspection().len(), "a name is there twice");
    let used: BTreeSet<&str> = introspection().iter().flat_map(uses).collect();
    for name in &used {
        assert!(names.contains(name), "'{name}' is not described");
    }
    for entity in introspection() {
        match entity.meta_type.tag() {
            SchemaMetaType::Command | SchemaMetaType::Event => {}
            kind => assert!(
                used.contains(entity.name.as_str()),
                "{kind:?} {}",
                entity.name
            ),
        }
    }
}

#[test]
fn arrays_and_types_of_the_language_have_their_names_and_all_others_are_numbers() {
    for entity in introspection() {
        let name = entity.name.as_str();
        match &entity.meta_type {
            SchemaInfoBranch::Builtin(_) => {
                assert!(
                    ["str", "int", "number", "bool", "null", "any"].contains(&name),
                    "{name}"
                );
            }
            SchemaInfoBranch::Array(array) => assert_eq!(name, format!("[{}]", array.element_type)),
            SchemaInfoBranch::Command(_) | SchemaInfoBranch::Event(_) => {}
            _ => assert!(name.parse::<u32>().is_ok(), "{name}"),
        }
    }
}

#[test]
fn a_tag_is_a_member_of_an_enum_with_a_variant_for_each_value() {
    let unions: Vec<_> = of_kind(SchemaMetaType::Object)
        .map(|entity| object(&entity.name))
        .filter(|object| object.tag.is_some())
        .collect();
    assert!(!unions.is_empty());
    for union in unions {
        let tag = union.tag.as_deref().unwrap();
        let member = union.members.iter().find(|m| m.name == tag).unwrap();
        let SchemaInfoBranch::Enum(of) = &entity(&member.r#type).meta_type else {
            panic!("'{tag}' is no enum")
        };
        let cases = union.variants.as_ref().unwrap().iter().map(|v| &v.case);
        let (cases, values): (BTreeSet<_>, BTreeSet<_>) =
            (cases.collect(), of.values.iter().collect());
        assert_eq!(cases, values);
    }
}

#[test]
fn an_accessor_takes_a_device_only_where_its_events_have_one() {
    for signal in SignalName::ALL {
        let arguments = arguments(signal.accessor());
        assert_eq!(arguments.contains_key("device"), signal.has_device());
        assert!(arguments.values().all(|a| a.default == Some(Value::Null)));
    }
}

#[test]
fn an_accessor_takes_what_its_description_says() {
    for signal in SignalName::ALL {
        let described = arguments(signal.accessor());
        for (name, value) in [("device", json!("disk0")), ("initial", json!(true))] {
            let sent = Arguments::from_iter([(name.to_owned(), value)]);
            let taken = Command::decode(signal.accessor(), sent).is_ok();
            assert_eq!(taken, described.contains_key(name), "{name}");
        }
        assert!(
            described
                .keys()
                .all(|name| ["device", "initial"].contains(name))
        );
    }
}

#[test]
fn entities_are_rendered_as_by_qemu() {
    let look = |name: &str| serde_json::to_value(entity(name)).unwrap();
    assert_eq!(
        look("int"),
        json!({"name": "int", "meta-type": "builtin", "json-type": "int"})
    );
    assert_eq!(
        look("[str]"),
        json!({"name": "[str]", "meta-type": "array", "element-type": "str"})
    );
    let lost = look("EVENTS_LOST");
    assert_eq!(lost["features"], json!(["notice"]));
    let accessor = look("get-block-io-error-event");
    assert_eq!(accessor["ret-type"], "int");
    assert_eq!(accessor["allow-oob"], true);
    assert!(look("stop").get("allow-oob").is_none());
    let device = arguments("get-block-io-error-event")["device"];
    assert_eq!(
        serde_json::to_value(device).unwrap(),
        json!({"name": "device", "type": "str", "default": null})
    );
}

#[test]
fn the_introspection_decodes_with_both_schemas() {
    for entity in introspection() {
        let value = serde_json::to_value(entity).unwrap();
        let again = SchemaInfo::decode(value.clone(), &Path::ROOT);
        assert_eq!(again.as_ref(), Ok(entity));
        let qemu: Result<qapi::qmp::SchemaInfo, _> = serde_json::from_value(value.clone());
        assert!(qemu.is_ok(), "{qemu:?} {value}");
    }
}

#[test]
fn a_member_of_no_branch_is_refused_by_its_path() {
    let refused = |value: Value| SchemaInfo::decode(value, &Path::ROOT).unwrap_err().desc;
    assert_eq!(
        refused(json!({"name": "x", "meta-type": "event", "arg-type": "0", "values": []})),
        "Parameter 'values' is unexpected"
    );
    assert_eq!(
        refused(json!({"name": "x", "meta-type": "event"})),
        "Parameter 'arg-type' is missing"
    );
    assert_eq!(
        refused(json!({"name": "x", "meta-type": "thing"})),
        "Parameter 'meta-type' does not accept value 'thing'"
    );
    assert_eq!(
        refused(json!({"name": "x"})),
        "Parameter 'meta-type' is missing"
    );
}
