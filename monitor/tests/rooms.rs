//! The rooms of the source: imports point one way.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms in the order of the table in lib.rs, each with its row.
fn rooms() -> BTreeMap<String, usize> {
    let library = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rows = library
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "));
    // The heading and the line under it have no names in code.
    let names = rows.map(|row| row.split(" | ").next().unwrap());
    names
        .filter(|names| names.contains('`'))
        .enumerate()
        .flat_map(|(row, names)| {
            let names = names.split('`').skip(1).step_by(2);
            names.map(move |name| (name.to_owned(), row))
        })
        .collect()
}

/// Every file of a room, with its display name.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The first names behind `crate::` in a file.
fn imports(text: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let paths = text.split("crate::").skip(1);
    paths
        .map(|path| path.split(|c| !is_name(c)).next().unwrap())
        .collect()
}

#[test]
fn imports_point_one_way_and_name_their_owner() {
    let rooms = rooms();
    let source = source();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let room = path.iter().next().unwrap().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        if matches!(room, "lib" | "fuzzing") {
            continue;
        }
        let Some(row) = rooms.get(room) else {
            wrong.push(format!("{} is in no room of lib.rs", path.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for import in imports(&text) {
            seen += 1;
            match rooms.get(import) {
                _ if import == room => {}
                Some(other) if other < row => {}
                Some(_) => wrong.push(format!("{} imports {import}", path.display())),
                None => wrong.push(format!(
                    "{} imports '{import}' from lib.rs and not from its owner",
                    path.display()
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 50, "{seen} imports");
}
