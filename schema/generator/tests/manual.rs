//! The reference manual, and the examples.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use faultvisor_qapi_generator::{Message, Owners, reference};
use support::{load_text, refused};

const SCHEMA: &str = "\
##
# = Paint
#
# What it is about, @paint for one.
##

##
# @Color:
#
# A color.
#
# @red: warm
#
# @blue: cold
#
# Features:
#
# @unstable: @blue may go.
#
# Since: 0.1
##
{ 'enum': 'Color', 'data': [ 'red', { 'name': 'blue', 'features': [ 'unstable' ] } ] }

##
# @Mixed:
#
# More than one.
#
# @first: the first one
#
# Since: 0.2
##
{ 'union': 'Mixed', 'base': { 'first': 'Color' }, 'discriminator': 'first', 'data': { 'red': 'Shade' } }

##
# @Shade:
#
# How much of it.
#
# @percent: of a hundred,
#     or more
#
# Since: 0.2
##
{ 'struct': 'Shade', 'data': { '*percent': 'int' } }

##
# @Paint:
#
# What to paint with.
#
# @mixed: with this
#
# @name: with what has this name
#
# Since: 0.2
##
{ 'alternate': 'Paint', 'data': { 'mixed': 'Mixed', 'name': 'str' } }

##
# @paint:
#
# Paints.
#
# @with: what to paint with
#
# Returns: what was used up
#
# Errors:
#     - If it is <dry> or __wet__, GenericError
#
# Since: 0.2
#
# .. qmp-example::
#
#     -> { 'execute': 'paint',
#          'arguments': { 'with': 'oil' } }
#     <- { 'return': [] }
#
# .. qmp-example::
#
#     -> { 'execute': 'paint' }
#     <- { 'error': {} }
##
{ 'command': 'paint', 'data': { 'with': 'Paint' }, 'returns': [ 'Shade' ], 'allow-oob': true }

##
# @DRY:
#
# It is.
#
# @device: what is
#
# Since: 0.2
##
{ 'event': 'DRY', 'data': { 'device': 'str' } }
";

#[test]
fn the_manual_describes_everything() {
    let manual = reference(&load_text(SCHEMA).unwrap(), &Owners::default());
    for part in [
        "- [Paint](#paint)\n  - Commands: [`paint`](#command-paint)\n  - Events: [`DRY`](#event-dry)\n",
        "## Paint\n\nWhat it is about, [`paint`](#command-paint) for one.\n",
        "- `red`: warm\n- `blue` (feature `unstable`): cold\n",
        "**Features**\n\n- `unstable`: `blue` may go.\n",
        "- `first` ([`Color`](#type-color)): the first one\n",
        "**Members that depend on `first`**\n\n- `red`: those of [`Shade`](#type-shade)\n- any other: none\n",
        "- `percent` (int, optional): of a hundred,\n  or more\n",
        "**One of**\n\n- `mixed` ([`Mixed`](#type-mixed)): with this\n- `name` (str): with what has this name\n",
        "**Arguments**\n\n- `with` ([`Paint`](#type-paint)): what to paint with\n",
        "**Returns** array of [`Shade`](#type-shade): what was used up\n",
        "The machine executes it, and it can be executed out of band.\n",
        "**Errors**\n\n- If it is \\<dry> or \\_\\_wet\\_\\_, GenericError\n",
        "Since 0.2.\n\n```\n-> { 'execute': 'paint',\n     'arguments': { 'with': 'oil' } }\n<- { 'return': [] }\n```\n",
        "**Accessor** `get-dry-event`:",
        "- `device` (str, optional): only events",
        "- `initial` (bool, optional): whether",
    ] {
        assert!(manual.contains(part), "{part} is missing in:\n{manual}");
    }
    let order = ["### Command", "### Event", "### Type"].map(|kind| manual.find(kind).unwrap());
    assert!(order.is_sorted());
}

#[test]
fn the_manual_names_the_owner_of_commands() {
    let owners = Owners {
        monitor: vec!["schema".to_owned()],
    };
    let manual = reference(&load_text(SCHEMA).unwrap(), &owners);
    assert!(manual.contains("The monitor executes it, and"), "{manual}");
}

#[test]
fn examples_are_parsed_into_messages() {
    let schema = load_text(SCHEMA).unwrap();
    let examples = schema.examples();
    assert_eq!(examples.len(), 2);
    assert!(examples.iter().all(|example| example.of.name == "paint"));
    assert_eq!(
        examples[0].messages,
        [
            Message::Client(
                "{ 'execute': 'paint',\n     'arguments': { 'with': 'oil' } }".to_owned()
            ),
            Message::Server("{ 'return': [] }".to_owned()),
        ]
    );
    assert_eq!(examples[1].messages.len(), 2);
    assert!(examples[1].location.line() > examples[0].location.line());
}

#[test]
fn an_invalid_example_is_refused_with_its_line() {
    let example = |text: &str| {
        refused(&format!(
            "##\n# @a:\n#\n# .. qmp-example::\n#\n{text}##\n{{ 'command': 'a' }}"
        ))
    };
    assert_eq!(
        example("#     and so on\n"),
        (4, "an example must start with '->' or '<-'".to_owned())
    );
    assert_eq!(
        example(""),
        (4, "an example is missing its messages".to_owned())
    );
}
