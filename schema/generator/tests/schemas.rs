//! Valid and invalid schemas, as files.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use faultvisor_qapi_generator::definition::{Command, Data, Kind};
use faultvisor_qapi_generator::{Owners, generate, load, load_foreign};
use support::{load_text, refusal, refused, rust, write};
use tempfile::TempDir;

#[test]
fn a_definition_of_each_kind_becomes_rust() {
    let rust = rust(
        "{ 'enum': 'Color', 'data': [ 'red', 'dark-blue' ] }
         { 'struct': 'Base', 'data': { 'id': 'int' } }
         { 'struct': 'Thing', 'base': 'Base', 'data': { '*color': 'Color', 'list': [ 'str' ], '*in': 'Thing' } }
         { 'command': 'paint', 'data': { 'thing': 'Thing' }, 'returns': [ 'Thing' ], 'allow-oob': true }
         { 'event': 'PAINTED', 'data': { '*device': 'str' } }
         { 'event': 'DRY' }",
    );
    for part in [
        "pub enum Color {",
        "    DarkBlue,",
        "    pub id: i64,",
        "    pub color: Option<Color>,",
        "    pub list: Vec<String>,",
        "    pub r#in: Option<Box<Thing>>,",
        "pub struct PaintArguments {",
        "fn paint(&mut self, arguments: PaintArguments) -> Result<Vec<Thing>, crate::CommandError>;",
        "Painted(Painted),",
        "\"get-painted-event\" => crate::accessor_arguments(arguments, true)",
        "\"get-dry-event\" => crate::accessor_arguments(arguments, false)",
        "name: \"paint\", owner: crate::CommandOwner::Machine, allow_oob: true",
    ] {
        assert!(rust.contains(part), "{part} is missing in:\n{rust}");
    }
    // The base's members come first on the wire.
    assert!(rust.find("pub id: i64").unwrap() < rust.find("pub color").unwrap());
}

#[test]
fn a_notice_has_no_accessor() {
    let rust = rust("{ 'event': 'GAP', 'features': [ 'notice' ] } { 'event': 'DRY' }");
    assert!(rust.contains("get-dry-event") && !rust.contains("get-gap-event"));
}

#[test]
fn how_an_event_is_delivered_follows_from_its_features() {
    let rust = rust(
        "{ 'enum': 'Act', 'data': [ { 'name': 'halt', 'features': [ 'replayed' ] }, 'go' ] }
         { 'event': 'LEAK', 'data': { 'qom-path': 'str', 'device': 'str', 'act': 'Act' },
           'features': [ 'rate-limited', 'replayed' ] }
         { 'event': 'DRIP', 'data': { '*device': 'str', '*act': 'Act' }, 'features': [ 'rate-limited', 'replayed' ] }
         { 'event': 'DRY', 'data': { 'since': 'int' }, 'features': [ 'rate-limited', 'replayed' ] }
         { 'event': 'RAIN', 'features': [ 'ends-replay' ] }
         { 'event': 'WIND', 'data': { 'act': 'Act' } }",
    );
    for part in [
        "Self::Leak(data) => Some(&data.qom_path),",
        "Self::Drip(data) => Some(data.device.as_deref().unwrap_or_default()),",
        "Self::Dry(_) => Some(\"\"),",
        "Self::Leak(data) => matches!(data.act, Act::Halt),",
        "Self::Drip(data) => matches!(data.act, Some(Act::Halt)),",
        "Self::Dry(_) => true,",
        "Self::Rain => true,",
    ] {
        assert!(rust.contains(part), "{part} is missing in:\n{rust}");
    }
    assert!(!rust.contains("Self::Wind(data) => matches!"));
    // Clients do not see it.
    assert!(!rust.contains("\"rate-limited\"") && !rust.contains("\"replayed\""));
}

#[test]
fn the_file_of_a_command_decides_its_owner() {
    let directory = TempDir::new().unwrap();
    write(
        directory.path(),
        "schema.json",
        "{ 'include': 'own.json' }\n{ 'command': 'b' }",
    );
    write(directory.path(), "own.json", "{ 'command': 'a' }");
    let schema = load(&directory.path().join("schema.json")).unwrap();
    let owners = Owners {
        monitor: vec!["own".to_owned()],
    };
    let rust = generate(&schema, &owners).unwrap();
    assert!(rust.contains("name: \"a\", owner: crate::CommandOwner::Monitor"));
    assert!(rust.contains("name: \"b\", owner: crate::CommandOwner::Machine"));
    assert_eq!(schema.files.len(), 2);
}

#[test]
fn a_file_is_read_once_however_often_it_is_included() {
    let directory = TempDir::new().unwrap();
    let twice = "{ 'include': 'a.json' }\n{ 'include': 'a.json' }";
    write(directory.path(), "schema.json", twice);
    write(directory.path(), "a.json", "{ 'command': 'a' }");
    assert_eq!(
        load(&directory.path().join("schema.json"))
            .unwrap()
            .definitions
            .len(),
        1
    );
    write(directory.path(), "a.json", "\n{ 'include': 'schema.json' }");
    let error = load(&directory.path().join("schema.json")).unwrap_err();
    assert!(error.to_string().contains("a.json:2: "), "{error}");
    assert!(error.message.ends_with("includes itself"));
    write(directory.path(), "a.json", "{ 'include': 'none.json' }");
    let error = load(&directory.path().join("schema.json")).unwrap_err();
    assert!(error.message.starts_with("cannot read"), "{error}");
}

#[test]
fn invalid_syntax_is_refused_with_its_line() {
    assert_eq!(
        refused("\n{ 'enum': 'A"),
        (2, "a string is missing its closing quote".to_owned())
    );
    assert_eq!(refused("{\n'enum': \"A\" }"), (2, "stray '\"'".to_owned()));
    assert_eq!(
        refused("{ 'enum': maybe }"),
        (1, "stray word 'maybe'".to_owned())
    );
    assert_eq!(
        refused("{ 'a': 'b',\n'a': 'c' }"),
        (2, "key 'a' is there twice".to_owned())
    );
    assert_eq!(refused("{ 'a' 'b' }"), (1, "expected ':'".to_owned()));
    assert_eq!(
        refused("{ 'a': 'b'"),
        (1, "the file ends where ',' or '}' was expected".to_owned())
    );
    assert_eq!(
        refused("[ 'a' ]"),
        (1, "expected '{' or documentation".to_owned())
    );
    assert_eq!(
        refused("##\n# @a:\n"),
        (
            1,
            "documentation without an end: '##' is missing".to_owned()
        )
    );
    assert_eq!(
        refused("##\n#x\n##"),
        (2, "a space must follow '#' in documentation".to_owned())
    );
    assert!(refusal("{ 'data': {} }").starts_with("a definition needs one of the keys"));
    assert_eq!(
        refusal("{ 'enum': 'A', 'struct': 'B' }"),
        "a definition cannot be 'enum' and 'struct'"
    );
}

#[test]
fn unsupported_constructs_are_refused_by_name_and_line() {
    for (schema, message) in [
        (
            "{ 'command': 'a',\n'if': 'CONFIG_A' }",
            "'if' is not supported by this generator: what is defined is always there",
        ),
        (
            "{ 'enum': 'Es', 'data': [\n{ 'name': 'a', 'if': 'CONFIG_A' } ] }",
            "'if' is not supported by this generator: what is defined is always there",
        ),
        (
            "{ 'struct': 'Ss',\n'data': { 'a': { 'type': 'int', 'if': 'CONFIG_A' } } }",
            "'if' is not supported by this generator: what is defined is always there",
        ),
        (
            "{ 'command': 'a',\n'gen': false }",
            "'gen' is not supported by this generator: arguments and answers of every command are typed",
        ),
        (
            "{ 'command': 'a',\n'success-response': false }",
            "'success-response' is not supported by this generator: every command answers",
        ),
        (
            "{ 'command': 'a',\n'quick': true }",
            "'command' has no key 'quick'",
        ),
    ] {
        assert_eq!(refused(schema), (2, message.to_owned()), "{schema}");
    }
}

#[test]
fn flags_without_effect_are_accepted_if_true() {
    let rust = rust(
        "{ 'enum': 'Es', 'prefix': 'E_S', 'data': [ 'a' ] }
         { 'struct': 'As', 'data': { 'e': 'Es' } }
         { 'command': 'a', 'data': 'As', 'boxed': true, 'allow-preconfig': true, 'coroutine': true }
         { 'event': 'B', 'data': 'As', 'boxed': true }",
    );
    assert!(rust.contains("fn a(&mut self, arguments: As,"), "{rust}");
    for (schema, message) in [
        (
            "{ 'command': 'a', 'allow-oob': false }",
            "'allow-oob' can only be true: leave it out",
        ),
        (
            "{ 'command': 'a', 'allow-oob': 'yes' }",
            "'allow-oob' must be true or false",
        ),
        (
            "{ 'command': 'a', 'allow-oob': true, 'coroutine': true }",
            "'allow-oob' and 'coroutine' exclude each other",
        ),
        ("{ 'command': 'a', 'boxed': true }", "'boxed' needs 'data'"),
        (
            "{ 'event': 'A', 'boxed': true, 'data': { 'a': 'int' } }",
            "'boxed' needs 'data' to name a type",
        ),
    ] {
        assert_eq!(refusal(schema), message, "{schema}");
    }
}

#[test]
fn a_command_that_takes_time_gets_a_reply_of_its_type() {
    let rust = rust(
        "{ 'struct': 'As', 'data': { 'n': 'int' } }
         { 'command': 'a', 'data': 'As', 'boxed': true, 'returns': [ 'As' ], 'coroutine': true }
         { 'command': 'b', 'coroutine': true }
         { 'command': 'c', 'returns': 'As' }",
    );
    for line in [
        "fn a(&mut self, arguments: As, reply: crate::Reply<Vec<As>>);",
        "fn b(&mut self, reply: crate::Reply<()>);",
        "fn c(&mut self) -> Result<As, crate::CommandError>;",
        "Self::A(arguments) => commands.a(*arguments, reply.map(MachineReturn::A)),",
        "Self::B => commands.b(reply.map(|()| MachineReturn::Empty(crate::Empty {}))),",
        "Self::C => reply.send(commands.c().map(MachineReturn::C)),",
    ] {
        assert!(rust.contains(line), "{line} is missing in:\n{rust}");
    }
}

#[test]
fn a_command_that_the_monitor_answers_takes_no_time() {
    let schema = load_text(
        "{ 'pragma': { 'doc-required': false } }
         { 'command': 'a', 'coroutine': true }",
    )
    .unwrap();
    let owners = Owners {
        monitor: vec!["schema".to_owned()],
    };
    let error = generate(&schema, &owners).unwrap_err();
    assert_eq!(error.location.line(), 2);
    assert_eq!(
        error.message,
        "'a' is answered by the monitor, and cannot be a 'coroutine'"
    );
}

#[test]
fn features_are_accepted_wherever_the_language_has_them() {
    let rust = rust(
        "{ 'enum': 'Es', 'data': [ { 'name': 'a', 'features': [ 'of-value' ] }, 'b' ], 'features': [ 'of-enum' ] }
         { 'struct': 'Ss', 'data': { 'e': { 'type': 'Es', 'features': [ 'of-member' ] } }, 'features': [ 'of-struct' ] }
         { 'command': 'c', 'data': { '*s': { 'type': [ 'Ss' ], 'features': [ { 'name': 'of-argument' } ] } },
           'features': [ 'of-command' ] }
         { 'event': 'D', 'features': [ 'of-event' ] }",
    );
    for entry in [
        r#"enumeration("4", &[("a", &["of-value"]), ("b", &[])], &["of-enum"])"#,
        r#"object("3", &[("e", "4", false, &["of-member"])], None, &["of-struct"])"#,
        r#"object("0", &[("s", "[3]", true, &["of-argument"])], None, &[])"#,
        r#"command("c", "0", "1", false, &["of-command"])"#,
        r#"event("D", "1", &["of-event"])"#,
    ] {
        assert!(rust.contains(entry), "{entry} is missing in:\n{rust}");
    }
    assert_eq!(
        refused("{ 'command': 'a', 'features': [ 'f',\n'f' ] }"),
        (2, "feature 'f' is there twice".to_owned())
    );
}

#[test]
fn pragmas_are_known_by_name() {
    assert_eq!(
        refused("{ 'pragma': {\n'name-case-whitelist': [] } }"),
        (2, "unknown pragma 'name-case-whitelist'".to_owned())
    );
    assert_eq!(
        refused("{ 'pragma': { 'doc-required': true },\n'command': 'a' }"),
        (1, "'pragma' stands alone in its object".to_owned())
    );
    rust(
        "{ 'pragma': { 'command-returns-exceptions': [ 'a' ] } } { 'command': 'a', 'returns': 'int' }",
    );
}

#[test]
fn a_file_comes_before_those_that_it_includes() {
    let directory = TempDir::new().unwrap();
    let includes = "{ 'command': 'a' }\n{ 'include': 'own.json' }\n{ 'command': 'b' }";
    write(directory.path(), "schema.json", includes);
    write(directory.path(), "own.json", "{ 'command': 'c' }");
    let schema = load(&directory.path().join("schema.json")).unwrap();
    let names: Vec<_> = schema.definitions.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn names_follow_their_rules() {
    for (schema, part) in [
        ("{ 'enum': 'color', 'data': [] }", "'color': a type's name"),
        ("{ 'command': 'Stop' }", "'Stop': a command's name"),
        ("{ 'command': 'a_b' }", "'a_b': a command's name"),
        ("{ 'event': 'Stop' }", "'Stop': an event's name"),
        (
            "{ 'struct': 'As', 'data': { 'a_b': 'int' } }",
            "'a_b': a member",
        ),
        ("{ 'enum': 'Es', 'data': [ 'A' ] }", "'A': a value"),
        (
            "{ 'struct': 'As', 'data': { 'has-x': 'int' } }",
            "no member may be called 'has-x'",
        ),
        (
            "{ 'struct': 'As', 'data': { 'a': 'int', '*a': 'int' } }",
            "member 'a' is there twice",
        ),
        (
            "{ 'enum': 'Es', 'data': [ 'a', 'a' ] }",
            "value 'a' is there twice",
        ),
        (
            "{ 'struct': 'As', 'data': { 'a-b': 'int', 'a-B': 'int' } } { 'pragma': { 'member-name-exceptions': [ 'As' ] } }",
            "member 'a-B' is there twice",
        ),
        (
            "{ 'struct': 'AsList', 'data': {} }",
            "'AsList': no name ends in 'List'",
        ),
        (
            "{ 'struct': 'String', 'data': {} }",
            "'String' would be 'String' in Rust, which is taken",
        ),
        (
            "{ 'event': 'IT_DRIED', 'data': { 'a': 'int' } } { 'struct': 'ItDried', 'data': {} }",
            "'ItDried' would be 'ItDried' in Rust, as 'IT_DRIED' is",
        ),
        ("{ 'command': 'a' } { 'command': 'a' }", "'a' is defined in"),
        (
            "{ 'event': 'DRY' } { 'command': 'get-dry-event' }",
            "'get-dry-event' is defined, and",
        ),
    ] {
        assert!(
            refusal(schema).starts_with(part),
            "{schema}: {}",
            refusal(schema)
        );
    }
    rust("{ 'pragma': { 'command-name-exceptions': [ 'a_b' ] } } { 'command': 'a_b' }");
}

#[test]
fn types_must_exist_and_be_types() {
    for (schema, message) in [
        (
            "{ 'struct': 'As', 'data': { 'a': 'Bs' } }",
            "there is no type 'Bs'",
        ),
        (
            "{ 'command': 'b' } { 'struct': 'As', 'data': { 'a': 'b' } }",
            "'b' is no type",
        ),
        (
            "{ 'struct': 'As', 'base': 'Bs', 'data': {} }",
            "there is no type 'Bs'",
        ),
        (
            "{ 'command': 'a', 'returns': 'int' }",
            "there is no type 'int'",
        ),
        ("{ 'command': 'a', 'data': 'Bs' }", "there is no type 'Bs'"),
        (
            "{ 'struct': 'As', 'data': { 'a': 'As' } }",
            "'As' would have to hold a 'As' for ever",
        ),
        (
            "{ 'struct': 'As', 'base': 'As', 'data': {} }",
            "'As' is its own base",
        ),
        (
            "{ 'struct': 'Bs', 'data': { 'a': 'int' } } { 'struct': 'As', 'base': 'Bs', 'data': { 'a': 'int' } }",
            "member 'a' is there in base 'Bs' already",
        ),
        (
            "{ 'struct': 'As', 'data': { 'a': [ 'int', 'str' ] } }",
            "an array type names exactly one type",
        ),
        (
            "{ 'struct': 'As', 'data': {}, 'features': [ 'notice' ] }",
            "only an event can have the feature 'notice'",
        ),
        (
            "{ 'struct': 'As', 'data': { 'a': { 'type': 'int', 'features': [ 'rate-limited' ] } } }",
            "only an event can have the feature 'rate-limited'",
        ),
        (
            "{ 'enum': 'As', 'data': [ { 'name': 'a', 'features': [ 'ends-replay' ] } ] }",
            "only an event can have the feature 'ends-replay'",
        ),
        (
            "{ 'command': 'a', 'features': [ 'replayed' ] }",
            "only an event or a value of an enum can have the feature 'replayed'",
        ),
        (
            "{ 'event': 'A', 'features': [ 'notice', 'replayed' ] }",
            "the features 'notice' and 'replayed' exclude each other",
        ),
        (
            "{ 'enum': 'Es', 'data': [ { 'name': 'a', 'features': [ 'replayed' ] } ] }
             { 'event': 'A', 'data': { 'one': 'Es', 'two': 'Es' }, 'features': [ 'replayed' ] }",
            "'one' and 'two' cannot both decide a replay",
        ),
        (
            "{ 'enum': 'Es', 'data': [ { 'name': 'a', 'features': [ 'replayed' ] } ] }
             { 'event': 'A', 'data': { 'all': [ 'Es' ] }, 'features': [ 'replayed' ] }",
            "'all' is a list, and no list decides a replay",
        ),
    ] {
        assert_eq!(refusal(schema), message, "{schema}");
    }
}

#[test]
fn documentation_is_required_and_checked() {
    let documented = |doc: &str, definition: &str| {
        format!("{{ 'pragma': {{ 'doc-required': true }} }}\n##\n{doc}##\n{definition}")
    };
    let command = "{ 'command': 'a', 'data': { 'x': 'int' } }";
    let good =
        "# @a:\n#\n# Does it.\n#\n# @x: what to do it with,\n#     and more\n#\n# Since: 0.1\n";
    let rust = rust(&documented(good, command));
    assert!(
        rust.contains("    /// what to do it with,\n    /// and more\n"),
        "{rust}"
    );
    for (doc, definition, message) in [
        (
            "# @b:\n#\n# Does it.\n",
            command,
            "this documents 'b', but 'a' follows",
        ),
        ("# @a:\n#\n# Since: 0.1\n", command, "'a' is not described"),
        ("# @a:\n#\n# Does it.\n", command, "'Since:' is missing"),
        (
            "# @a:\n#\n# Does it.\n#\n# Since: 0.1\n",
            command,
            "member 'x' is not documented",
        ),
        (
            "# @a:\n#\n# Does it.\n#\n# @x:\n#\n# Since: 0.1\n",
            command,
            "member 'x' is not described",
        ),
        (
            "# @a:\n#\n# Does it.\n#\n# @y: no\n#\n# Since: 0.1\n",
            "{ 'command': 'a' }",
            "there is no member 'y' to document",
        ),
        (
            "# @a:\n#\n# Does it.\n#\n# Returns: it\n#\n# Since: 0.1\n",
            "{ 'command': 'a' }",
            "'Returns:' where nothing is returned",
        ),
        (
            "# @a:\n#\n# Does it.\n#\n# Since: 0.1\n",
            "{ 'command': 'a', 'features': [ 'f' ] }",
            "feature 'f' is not documented",
        ),
        (
            "# @a:\n#\n# Does it.\n#\n# @x: it\n#\n# Since: 0.1\n",
            "{ 'command': 'a', 'data': { 'x': { 'type': 'int', 'features': [ 'f' ] } } }",
            "feature 'f' is not documented",
        ),
        (
            "# @a:\n#\n# @x: one\n#\n# @x: two\n",
            command,
            "'x' is described twice",
        ),
    ] {
        assert_eq!(refusal(&documented(doc, definition)), message);
    }
    assert_eq!(
        refused("{ 'pragma': { 'doc-required': true } }\n{ 'command': 'a' }"),
        (2, "'a' is not documented".to_owned())
    );
    assert_eq!(
        refused("##\n# @a:\n##\n\n{ 'include': 'b' }"),
        (1, "documentation of 'a' without its definition".to_owned())
    );
}

#[test]
fn a_foreign_schema_is_reduced_to_the_wire() {
    let directory = TempDir::new().unwrap();
    let text = "
        ##
        # Documentation that nobody here reads: @nothing, and a section of any kind.
        ##
        { 'enum': 'Kind', 'data': [ 'a', { 'name': 'b', 'if': 'CONFIG_B', 'features': [
            { 'name': 'deprecated', 'if': { 'any': [ 'X', 'Y' ] } } ] } ] }
        { 'struct': 'Thing', 'data': { 'kind': { 'type': 'Kind', 'if': 'CONFIG_B' }, 'if': 'str' }, 'if': 'Z' }
        { 'command': 'take', 'data': 'Thing', 'gen': false, 'success-response': false,
          'features': [ { 'name': 'unstable', 'if': 'Z' } ] }
        { 'command': 'Odd_name', 'returns': 'NoSuchType' }";
    let text = text.replace("\n        ", "\n");
    write(directory.path(), "schema.json", &text);
    let path = directory.path().join("schema.json");
    let schema = load_foreign(&path).unwrap();
    let [kind, thing, take, odd] = schema.definitions.as_slice() else {
        panic!("{:?}", schema.definitions);
    };
    let Kind::Enum(values) = &kind.kind else {
        panic!("{kind:?}");
    };
    assert_eq!(values[1].features[0].name, "deprecated");
    let names: Vec<&str> = thing
        .own_members()
        .iter()
        .map(|m| m.name.as_str())
        .collect();
    // A member may be named like a condition.
    assert_eq!(names, ["kind", "if"]);
    assert!(take.has_feature("unstable"));
    assert!(
        matches!(&take.kind, Kind::Command(Command { data: Data::Named(name, _), .. }) if name == "Thing")
    );
    assert_eq!(odd.name, "Odd_name");
    // A schema that is generated from may not contain it.
    assert!(load(&path).is_err());
}
