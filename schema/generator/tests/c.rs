//! The C library of a schema: its declarations, and the schemas that it refuses.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use faultvisor_qapi_generator::{CLibrary, c_library};
use support::load_text;

fn library(text: &str) -> CLibrary {
    c_library(&load_text(text).unwrap()).unwrap()
}

fn declarations(text: &str) -> String {
    library(text).declarations
}

fn refusal(text: &str) -> String {
    let error = c_library(&load_text(text).unwrap()).expect_err("a schema that C has no room for");
    assert!(error.to_string().contains("schema.json:"), "{error}");
    error.message
}

/// Asserts that the parts occur in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let (_, after) = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part} in {text}"));
        rest = after;
    }
}

#[test]
fn optional_members_have_a_flag_or_are_pointers() {
    let text = declarations(
        "{ 'struct': 'Inner', 'data': { 'n': 'int8' } }
         { 'struct': 'Outer', 'data': { '*count': 'uint16', '*name': 'str', '*inner': 'Inner', '*all': ['Inner'],
                                        'value': 'any', 'inside': 'Inner', 'list': ['str'] } }",
    );
    assert_in_order(
        &text,
        &[
            "struct QmpOuter {",
            "bool has_count;",
            "uint16_t count;",
            "const char *name;",
            "const QmpInner *inner;",
            "const QmpInnerList *all;",
            "const char *value;",
            "QmpInner inside;",
            "QmpStringList list;",
            "};",
        ],
    );
    assert!(text.contains("const char *const *items;"), "{text}");
    assert!(text.contains("const QmpInner *items;"), "{text}");
}

#[test]
fn a_structure_follows_those_that_it_contains() {
    let text = declarations(
        "{ 'struct': 'Outer', 'data': { 'inner': 'Inner' } }
         { 'struct': 'Inner', 'data': { 'kind': 'Kind', '*others': ['Outer'] } }
         { 'enum': 'Kind', 'data': ['a'] }",
    );
    assert_in_order(
        &text,
        &[
            "typedef enum QmpKind {",
            "struct QmpInner {",
            "struct QmpOuter {",
        ],
    );
}

#[test]
fn a_recursive_structure_is_behind_a_pointer() {
    let text = declarations(
        "{ 'struct': 'Chain', 'data': { '*next': 'Chain', 'link': 'Link' } }
         { 'struct': 'Link', 'data': { '*chain': 'Chain' } }",
    );
    for declaration in [
        "(NULL: absent) */\n    const QmpChain *next;",
        "(never NULL) */\n    const QmpLink *link;",
        "(NULL: absent) */\n    const QmpChain *chain;",
    ] {
        assert!(text.contains(declaration), "{declaration} in {text}");
    }
}

#[test]
fn words_reserved_by_c_or_cxx_get_an_underscore() {
    let text = declarations(
        "{ 'struct': 'Words', 'data': { 'class': 'str', '*new': 'bool', 'errno': 'int', 'type': 'str' } }",
    );
    assert_in_order(
        &text,
        &[
            "*class_;",
            "bool has_new_;",
            "bool new_;",
            "int64_t errno_;",
            "*type;",
        ],
    );
}

#[test]
fn a_command_returns_its_answer_in_its_c_form() {
    let text = declarations(
        "{ 'pragma': { 'command-returns-exceptions': ['name', 'value', 'count', 'kind', 'nothing'] } }
         { 'enum': 'Kind', 'data': ['a'] }
         { 'struct': 'Info', 'data': { 'n': 'int' } }
         { 'command': 'do-it', 'data': { 'n': 'int' } }
         { 'command': 'may-do-it', 'data': { '*n': 'int' } }
         { 'command': 'ask', 'returns': 'Info' }
         { 'command': 'ask-all', 'returns': ['Info'] }
         { 'command': 'name', 'returns': 'str' }
         { 'command': 'value', 'returns': 'any' }
         { 'command': 'count', 'returns': 'int' }
         { 'command': 'kind', 'returns': 'Kind' }
         { 'command': 'nothing', 'returns': 'null' }",
    );
    for declaration in [
        "`arguments` must not be NULL.",
        "bool libqmp_do_it(QmpSession *session, const QmpDoItArguments *arguments, QmpError **error);",
        "`arguments` may be NULL, which leaves every one of them out.",
        "bool libqmp_may_do_it(QmpSession *session, const QmpMayDoItArguments *arguments, QmpError **error);",
        "QmpInfo *libqmp_ask(QmpSession *session, QmpError **error);",
        "void libqmp_info_free(QmpInfo *value);",
        "QmpInfoList *libqmp_ask_all(QmpSession *session, QmpError **error);",
        "void libqmp_info_list_free(QmpInfoList *value);",
        "char *libqmp_name(QmpSession *session, QmpError **error);",
        "char *libqmp_value(QmpSession *session, QmpError **error);",
        "bool libqmp_count(QmpSession *session, int64_t *value, QmpError **error);",
        "bool libqmp_kind(QmpSession *session, QmpKind *value, QmpError **error);",
        "bool libqmp_nothing(QmpSession *session, QmpError **error);",
    ] {
        assert!(text.contains(declaration), "{declaration} in {text}");
    }
}

#[test]
fn an_event_is_an_object_and_a_notice_is_none() {
    let text = declarations(
        "{ 'event': 'DISK_FULL', 'data': { 'device': 'str' } }
         { 'event': 'TICK' }
         { 'event': 'GAP', 'data': { 'n': 'int' }, 'features': ['notice'] }",
    );
    for declaration in [
        "typedef struct QmpDiskFullEvent QmpDiskFullEvent;",
        "QmpDiskFullEvent *libqmp_get_disk_full_event(QmpSession *session, QmpError **error);",
        "*libqmp_get_disk_full_event_with(QmpSession *session, const char *device, bool initial, QmpError **error);",
        "*libqmp_get_tick_event_with(QmpSession *session, bool initial, QmpError **error);",
        "void libqmp_tick_event_free(QmpTickEvent *event);",
    ] {
        assert!(text.contains(declaration), "{declaration} in {text}");
    }
    assert_in_order(
        &text,
        &[
            "struct QmpDiskFullOccurrence {",
            "QmpDiskFull data;",
            "struct QmpTickOccurrence {",
        ],
    );
    assert!(!text.contains("GapEvent"), "{text}");
}

#[test]
fn colliding_names_are_refused() {
    for (schema, message) in [
        (
            "{ 'enum': 'Ab', 'data': ['c-d'] } { 'enum': 'AbC', 'data': ['d'] }",
            "'AbC' would be 'QMP_AB_C_D' in C, as 'Ab' is",
        ),
        (
            "{ 'enum': 'ThingKind', 'data': ['a'] } { 'alternate': 'Thing', 'data': { 'n': 'int', 'b': 'bool' } }",
            "'Thing' would be 'QmpThingKind' in C, as 'ThingKind' is",
        ),
        (
            "{ 'struct': 'Error', 'data': { 'n': 'int' } }",
            "'Error' would be 'QmpError' in C, which is taken",
        ),
        (
            "{ 'command': 'session-free' }",
            "'session-free' would be 'libqmp_session_free' in C, which is taken",
        ),
        (
            "{ 'pragma': { 'member-name-exceptions': ['Some'] } } { 'struct': 'Some', 'data': { 'new': 'int', 'new_': 'int' } }",
            "two members of 'Some' would be 'new_' in C",
        ),
    ] {
        assert_eq!(refusal(schema), message);
    }
}

#[test]
fn documentation_does_not_end_its_comment() {
    let text = declarations(
        "##\n# @Path:\n#\n# What /etc/*/passwd */ is, @name for one.\n#\n# @name: the name\n#\n# Since: 0.1\n##\n\
         { 'struct': 'Path', 'data': { 'name': 'str' } }",
    );
    assert!(
        text.contains("What /etc/ * /passwd * / is, `name` for one."),
        "{text}"
    );
}

#[test]
fn the_declarations_replace_the_templates_mark() {
    let library = library("{ 'enum': 'Kind', 'data': ['a'] }");
    let template = "before\n/* What follows from the schema stands here. */\nafter\n";
    let header = library.header(template).unwrap();
    assert!(
        header.starts_with("before\n/*") && header.ends_with("\nafter\n"),
        "{header}"
    );
    assert_eq!(library.header("no place"), None);
}
