//! The rooms of the block layer: imports point one way, and none leads to virtio.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/block")
}

/// The rooms in the order of the table in mod.rs, each with its row number.
fn rooms() -> BTreeMap<String, usize> {
    let library = fs::read_to_string(source().join("mod.rs")).unwrap();
    let rows = library
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .zip(0..)
        .collect()
}

/// The files under a directory, without tests.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.file_stem().unwrap() != "tests")
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// The names that follow a prefix of a path.
fn names<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let paths = text.split(prefix).skip(1);
    paths
        .map(|path| path.split(|c| !is_name(c)).next().unwrap())
        .collect()
}

#[test]
fn imports_of_the_block_layer_point_one_way_and_name_their_owner() {
    let rooms = rooms();
    let source = source();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let room = path.iter().next().unwrap().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        if room == "mod" {
            continue;
        }
        let Some(row) = rooms.get(room) else {
            wrong.push(format!("{} is in no room of mod.rs", path.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if names(text, "crate::").contains(&"virtio") {
            wrong.push(format!("{} imports virtio", path.display()));
        }
        for import in names(text, "crate::block::") {
            seen += 1;
            match rooms.get(import) {
                _ if import == room => {}
                Some(other) if other < row => {}
                Some(_) => wrong.push(format!("{} imports {import}", path.display())),
                None => wrong.push(format!(
                    "{} imports '{import}' from block/mod.rs and not from its owner",
                    path.display()
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "{seen} imports");
}
