//! The workspace's folders, as ARCHITECTURE.md lists them, and which of them may depend on which.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use faultvisor_tests::{build, tool};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The folders, and those whose packages a package there may depend on, beside its own folder's. A package's own tests
/// may use more.
const FOLDERS: [(&str, &[&str]); 9] = [
    ("schema", &[]),
    ("monitor", &["schema"]),
    ("devices", &["schema"]),
    ("vmm", &["devices", "monitor", "schema"]),
    ("client", &["schema"]),
    ("harness", &["client"]),
    ("explore", &["harness"]),
    (
        "tests",
        &["harness", "explore", "client", "monitor", "schema"],
    ),
    ("resources", &[]),
];

/// cargo's metadata of each package of the workspace.
fn packages() -> Vec<Value> {
    let mut cargo = build::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let said = tool::output(cargo.current_dir(ROOT)).unwrap();
    let said: Value = serde_json::from_slice(&said).unwrap();
    said["packages"].as_array().unwrap().clone()
}

/// The path of a folder of the workspace, from its root.
fn within(folder: &Path) -> String {
    let root = fs::canonicalize(ROOT).unwrap();
    let folder = fs::canonicalize(folder).unwrap();
    folder.strip_prefix(root).unwrap().display().to_string()
}

/// The folder of a package.
fn folder(package: &Value) -> String {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    within(manifest.parent().unwrap())
}

/// The folder at the top that a package is in.
fn top(path: &str) -> &str {
    path.split('/').next().unwrap()
}

#[test]
fn architecture_md_lists_exactly_the_existing_folders() {
    let page = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let cell = |row: &str| {
        let (cell, _) = row.strip_prefix("| `")?.split_once("/` |")?;
        Some(cell.to_owned())
    };
    let listed: BTreeSet<String> = page.lines().filter_map(cell).collect();
    for folder in &listed {
        assert!(Path::new(ROOT).join(folder).is_dir(), "{folder}");
    }
    let is_listed = |folder: &str| listed.contains(folder);
    for package in packages() {
        let folder = folder(&package);
        let is_example = top(&folder) == "resources" && is_listed("resources");
        assert!(is_listed(&folder) || is_example, "{folder}");
    }
    assert!(is_listed("fuzz"), "{listed:?}");
}

#[test]
fn dependencies_between_folders_have_one_direction() {
    let mut dependencies = 0;
    for package in packages() {
        let package_folder = folder(&package);
        let from = top(&package_folder);
        let known = FOLDERS.iter().find(|(folder, _)| *folder == from);
        assert!(
            known.is_some(),
            "FOLDERS does not say what '{from}' may use"
        );
        let (_, allowed) = known.unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            // Only workspace dependencies have a path.
            let Some(path) = dependency["path"].as_str() else {
                continue;
            };
            if dependency["kind"] == "dev" {
                continue;
            }
            let path = within(Path::new(path));
            let to = top(&path);
            let is_allowed = to == from || allowed.contains(&to);
            assert!(is_allowed, "{package_folder} depends on {path}");
            dependencies += 1;
        }
    }
    assert!(dependencies > 10, "{dependencies}");
}
