//! Unions and alternates, valid and invalid.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{refusal, refused, rust};

/// The definitions that a union needs.
const PARTS: &str = "{ 'enum': 'Shape', 'data': [ 'circle', 'square', 'point' ] }
     { 'struct': 'Base', 'data': { 'name': 'str', 'shape': 'Shape', '*hint': 'Shape', 'text': 'str', 'all': [ 'Shape' ] } }
     { 'struct': 'Circle', 'data': { 'radius': 'int' } }
     { 'struct': 'Square', 'data': { 'side': 'int' } }
     { 'struct': 'Named', 'data': { 'name': 'str' } }";

/// The line of the error, counted from the end of the parts, and its message.
fn refused_union(union: &str) -> (u32, String) {
    let lines = u32::try_from(PARTS.lines().count()).unwrap();
    let (line, message) = refused(&format!("{PARTS}\n{union}"));
    (line - lines, message)
}

#[test]
fn a_union_becomes_a_struct_with_an_enum_in_the_discriminators_place() {
    for base in ["'Base'", "{ 'name': 'str', 'shape': 'Shape' }"] {
        let rust = rust(&format!(
            "{PARTS} {{ 'union': 'Figure', 'base': {base}, 'discriminator': 'shape',
               'data': {{ 'square': 'Square', 'circle': {{ 'type': 'Circle' }} }} }}
             {{ 'command': 'draw', 'data': {{ 'figure': 'Figure' }} }}"
        ));
        for part in [
            "pub struct Figure {",
            "    pub name: String,",
            "    #[serde(flatten)]\n    pub shape: FigureBranch,",
            "#[serde(tag = \"shape\")]\npub enum FigureBranch {",
            "    Circle(Circle),",
            "    Point,\n",
            "Shape::Square => members.rest().map(Self::Square),",
            "Shape::Point => members.close().map(|()| Self::Point),",
            // As QEMU renders it: branches in their order, then the values without one.
            "Some((\"shape\", &[(\"square\", \"4\"), (\"circle\", \"5\"), (\"point\", \"1\")]))",
        ] {
            assert!(rust.contains(part), "{part} is missing in:\n{rust}");
        }
        assert!(!rust.contains("pub shape: Shape,\n    pub shape: FigureBranch"));
    }
}

#[test]
fn an_invalid_union_is_refused_with_its_line() {
    let union = |base: &str, discriminator: &str, data: &str| {
        refused_union(&format!(
            "{{ 'union': 'Figure', 'base': {base},\n'discriminator': '{discriminator}',\n'data': {data} }}"
        ))
    };
    let none = "{}";
    for (base, discriminator, data, line, message) in [
        (
            "'Base'",
            "form",
            none,
            2,
            "discriminator 'form' is no member of the base",
        ),
        (
            "'Base'",
            "hint",
            none,
            2,
            "discriminator 'hint' must not be optional",
        ),
        (
            "'Base'",
            "text",
            none,
            2,
            "discriminator 'text' must be of an enum with values",
        ),
        (
            "'Base'",
            "all",
            none,
            2,
            "discriminator 'all' must be of an enum with values",
        ),
        ("'Shape'", "shape", none, 1, "'Shape' is no struct"),
        ("'Nothing'", "shape", none, 1, "there is no type 'Nothing'"),
        (
            "{ 'a': 'Nothing' }",
            "a",
            none,
            1,
            "there is no type 'Nothing'",
        ),
        (
            "'Base'",
            "shape",
            "{ 'line': 'Circle' }",
            3,
            "branch 'line' is no value of the discriminator",
        ),
        (
            "'Base'",
            "shape",
            "{ 'circle': 'Shape' }",
            3,
            "'Shape' is no object type",
        ),
        (
            "'Base'",
            "shape",
            "{ 'circle': [ 'Circle' ] }",
            3,
            "branch 'circle' must be an object type",
        ),
        (
            "'Base'",
            "shape",
            "{ 'circle': 'Nothing' }",
            3,
            "there is no type 'Nothing'",
        ),
        (
            "'Base'",
            "shape",
            "{ 'circle': 'Named' }",
            3,
            "member 'name' of branch 'circle' is there in the base already",
        ),
        (
            "'Base'",
            "shape",
            "{ 'circle': { 'type': 'Circle', 'features': [ 'f' ] } }",
            3,
            "'branch' has no key 'features'",
        ),
    ] {
        assert_eq!(union(base, discriminator, data), (line, message.to_owned()));
    }
    assert_eq!(
        refusal("{ 'union': 'Figure', 'data': {} }"),
        "'union' lacks the key 'base'"
    );
    assert_eq!(
        refusal("{ 'union': 'Figure', 'base': 'Base', 'data': {} }"),
        "'union' lacks the key 'discriminator'"
    );
}

#[test]
fn a_union_is_an_argument_only_as_one_value() {
    let union = "{ 'union': 'Figure', 'base': 'Base', 'discriminator': 'shape', 'data': {} }";
    assert_eq!(
        refused_union(&format!(
            "{union}\n{{ 'command': 'draw',\n'data': 'Figure' }}"
        )),
        (
            3,
            "'Figure' is a union, and needs 'boxed': true here".to_owned()
        )
    );
    let rust = rust(&format!(
        "{PARTS} {union} {{ 'command': 'draw', 'data': 'Figure', 'boxed': true, 'returns': 'Figure' }}"
    ));
    assert!(
        rust.contains(
            "fn draw(&mut self, arguments: Figure) -> Result<Figure, crate::CommandError>;"
        )
    );
}

#[test]
fn a_union_may_contain_itself_but_not_endlessly() {
    let group = |member: &str| {
        format!(
            "{{ 'enum': 'Kind', 'data': [ 'group' ] }}
             {{ 'struct': 'Group', 'data': {{ '{member}': 'Tree' }} }}
             {{ 'union': 'Tree', 'base': {{ 'kind': 'Kind' }}, 'discriminator': 'kind', 'data': {{ 'group': 'Group' }} }}"
        )
    };
    let rust = rust(&group("*rest"));
    assert!(rust.contains("pub rest: Option<Box<Tree>>,"), "{rust}");
    assert!(rust.contains("    Group(Box<Group>),"), "{rust}");
    assert_eq!(
        refused(&group("rest")),
        (
            2,
            "'Group' would have to hold a 'Group' for ever".to_owned()
        )
    );
}

#[test]
fn an_alternate_becomes_an_enum_selected_by_the_json_kind() {
    let rust = rust(
        "{ 'struct': 'Options', 'data': { '*next': 'Reference' } }
         { 'alternate': 'Reference', 'data': { 'definition': 'Options', 'reference': 'str', 'none': 'null' } }
         { 'alternate': 'Amount', 'data': { 'exact': 'uint8', 'guess': 'bool', 'many': [ 'number' ] } }
         { 'command': 'refer', 'data': { 'to': 'Reference', 'amounts': [ 'Amount' ] } }",
    );
    for part in [
        "#[serde(untagged)]\npub enum Reference {",
        "    Definition(Box<Options>),",
        "    None(crate::Null),",
        "serde_json::Value::Object(_) => crate::Decode::decode(value, path).map(Self::Definition),",
        "serde_json::Value::Null => crate::Decode::decode(value, path).map(Self::None),",
        "path.wrong_type(\"object, string or null\")",
        "path.wrong_type(\"integer, boolean or array\")",
        "    Many(Vec<f64>),",
        "pub next: Option<Box<Reference>>,",
        r#"alternate("2", &["4", "str", "null"], &[])"#,
    ] {
        assert!(rust.contains(part), "{part} is missing in:\n{rust}");
    }
}

#[test]
fn ambiguous_alternatives_are_refused_with_their_line() {
    let switch = "{ 'enum': 'Switch', 'data': [ 'on', 'off' ] }
         { 'enum': 'Size', 'data': [ '144' ] } { 'enum': 'Word', 'data': [ 'word' ] }";
    let alternate = |data: &str| {
        let (line, message) = refused(&format!(
            "{switch}\n{{ 'alternate': 'Either', 'data': {{\n{data} }} }}"
        ));
        (line - 2, message)
    };
    for (data, line, message) in [
        (
            "'a': 'int',\n'b': 'number'",
            3,
            "alternative 'b' cannot be told from 'a'",
        ),
        (
            "'a': 'str',\n'b': 'bool'",
            3,
            "alternative 'b' cannot be told from 'a'",
        ),
        (
            "'a': 'int',\n'b': 'str'",
            3,
            "alternative 'b' cannot be told from 'a'",
        ),
        (
            "'a': 'Switch',\n'b': 'bool'",
            3,
            "alternative 'b' cannot be told from 'a'",
        ),
        (
            "'a': 'Size',\n'b': 'int'",
            3,
            "alternative 'b' cannot be told from 'a'",
        ),
        (
            "'a': [ 'int' ],\n'b': [ 'str' ]",
            3,
            "alternative 'b' cannot be told from 'a'",
        ),
        ("'a': 'any'", 2, "'any' cannot be an alternative"),
        ("'a': 'Either'", 2, "'Either' cannot be an alternative"),
        ("'a': 'Nothing'", 2, "there is no type 'Nothing'"),
        (
            "'A': 'int'",
            2,
            "'A': an alternative is lower-case words with dashes",
        ),
    ] {
        assert_eq!(alternate(data), (line, message.to_owned()), "{data}");
    }
    rust(&format!(
        "{switch} {{ 'alternate': 'Either', 'data': {{ 'a': 'Word', 'b': 'bool', 'c': 'int' }} }}"
    ));
    assert_eq!(
        refusal("{ 'alternate': 'Either', 'data': {} }"),
        "an alternate needs alternatives"
    );
}

#[test]
fn an_alternate_is_no_answer_and_no_arguments() {
    let alternate = "{ 'alternate': 'Either', 'data': { 'a': 'str' } }";
    assert_eq!(
        refusal(&format!(
            "{alternate} {{ 'command': 'a', 'returns': 'Either' }}"
        )),
        "'Either' is no object type"
    );
    assert_eq!(
        refusal(&format!(
            "{alternate} {{ 'command': 'a', 'data': 'Either' }}"
        )),
        "'Either' is no object type"
    );
}

#[test]
fn members_of_a_union_or_an_alternate_are_documented_there() {
    let documented = |doc: &str, definition: &str| {
        format!(
            "{{ 'pragma': {{ 'doc-required': true }} }}\n##\n# @Es:\n#\n# Values.\n#\n# @a: one\n#\n# Since: 0.1\n##\n\
             {{ 'enum': 'Es', 'data': [ 'a' ] }}\n##\n{doc}##\n{definition}"
        )
    };
    let union = "{ 'union': 'Us', 'base': { 'e': 'Es' }, 'discriminator': 'e', 'data': {} }";
    let alternate = "{ 'alternate': 'Us', 'data': { 'e': 'Es' } }";
    for definition in [union, alternate] {
        rust(&documented(
            "# @Us:\n#\n# One.\n#\n# @e: which\n#\n# Since: 0.1\n",
            definition,
        ));
        assert_eq!(
            refusal(&documented(
                "# @Us:\n#\n# One.\n#\n# Since: 0.1\n",
                definition
            )),
            "member 'e' is not documented"
        );
    }
}
