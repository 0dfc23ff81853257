//! Links of the documents resolve: pages, headings, and the files that they name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The project's folders; a path that begins with one names a file of the project.
const FOLDERS: [&str; 10] = [
    "client",
    "devices",
    "explore",
    "fuzz",
    "harness",
    "monitor",
    "resources",
    "schema",
    "tests",
    "vmm",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file of the project, by its path from the root, without generated and hidden ones.
fn files() -> BTreeSet<PathBuf> {
    let root = root();
    let mut files = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let name = name.to_str().unwrap();
            if name.starts_with('.') || name == "target" || name.starts_with("target.") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.path().strip_prefix(&root).unwrap().to_owned());
            }
        }
    }
    files
}

/// The documents: their paths from the root, and their text without code blocks.
fn documents(files: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, String> {
    let is_document = |path: &&PathBuf| path.extension().is_some_and(|is| is == "md");
    let documents = files.iter().filter(is_document);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(root().join(path)).unwrap();
        (path.clone(), without_code(&text))
    };
    documents.map(read).collect()
}

fn without_code(text: &str) -> String {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// The anchor of a heading.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = heading.chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let repeated = (1..).map(|count| format!("{anchor}-{count}"));
        let mut names = std::iter::once(anchor.clone()).chain(repeated);
        anchors.extend(names.find(|name| !anchors.contains(name)));
    }
    anchors
}

/// The targets of a text's links.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// The code spans of a text.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Normalizes a path: no `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(normal.pop(), "{} leaves the project", path.display()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn every_link_of_a_document_resolves() {
    let files = files();
    let documents = documents(&files);
    let mut wrong = Vec::new();
    let mut followed = 0;
    for (document, text) in &documents {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => normal(&document.parent().unwrap().join(path)),
            };
            let is_there = root().join(&target).exists();
            let has_anchor = anchor.is_empty()
                || documents
                    .get(&target)
                    .is_some_and(|text| anchors(text).contains(anchor));
            if !is_there || !has_anchor {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed > 50, "only {followed} links were found");
}

#[test]
fn every_file_named_in_a_document_exists() {
    let files = files();
    let mut wrong = Vec::new();
    let mut found = 0;
    for (document, text) in documents(&files) {
        for name in code(&text) {
            let is_path = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
            let first = name.split('/').next().unwrap();
            let is_of_project = name.contains('/') && FOLDERS.contains(&first);
            let is_there = if is_path && is_of_project {
                let here = document.parent().unwrap().join(name);
                root().join(name).exists() || root().join(here).exists()
            } else if is_path && name.ends_with(".rs") {
                files.iter().any(|file| file.ends_with(name))
            } else {
                continue;
            };
            found += 1;
            if !is_there {
                wrong.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(found > 100, "only {found} names were found");
}

#[test]
fn headings_are_linked_to_as_they_are_shown() {
    let text = "# The `stop` of it\n## 3.3. Out-of-band, once\n## Same\n## Same\ntext\n";
    let expected = ["the-stop-of-it", "33-out-of-band-once", "same", "same-1"];
    assert_eq!(
        anchors(text),
        expected.into_iter().map(str::to_owned).collect()
    );
}
