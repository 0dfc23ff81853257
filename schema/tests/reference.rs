//! docs/qmp-reference.md is up to date with the schema.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::{env, fs};

use faultvisor_qapi_generator::{Loaded, Owners, load, reference};
use faultvisor_schema::{COMMANDS, CommandOwner};

const REFERENCE: &str = "../docs/qmp-reference.md";

/// The owners of the commands, as in build.rs.
fn owners(schema: &Loaded) -> Owners {
    let is_monitors = |name: &str| {
        let entry = COMMANDS.iter().find(|entry| entry.name == name);
        entry.is_some_and(|entry| entry.owner == CommandOwner::Monitor)
    };
    let commands = schema.definitions.iter().filter(|d| is_monitors(&d.name));
    Owners {
        monitor: commands.map(|command| command.module.clone()).collect(),
    }
}

fn manual() -> String {
    let schema = load(Path::new("qapi/qapi-schema.json")).unwrap();
    reference(&schema, &owners(&schema))
}

#[test]
fn the_reference_is_up_to_date() {
    let manual = manual();
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(REFERENCE, &manual).unwrap();
    }
    let written = fs::read_to_string(REFERENCE).unwrap_or_default();
    assert!(
        written == manual,
        "docs/qmp-reference.md is stale: `UPDATE_REFERENCE=1 cargo test -p faultvisor-schema --test reference` writes it"
    );
}

#[test]
fn every_link_leads_to_a_heading() {
    let manual = manual();
    let anchors: Vec<String> = manual
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().replace('`', "");
            heading.to_lowercase().replace(',', "").replace(' ', "-")
        })
        .collect();
    let links: Vec<&str> = manual
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(anchor, _)| anchor))
        .collect();
    assert!(links.len() > 50, "{links:?}");
    for link in links {
        let found = anchors.iter().filter(|anchor| *anchor == link).count();
        assert_eq!(found, 1, "{link}");
    }
}
