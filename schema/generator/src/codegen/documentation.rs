//! Documentation of a schema as documentation in Rust.

use std::fmt::Write as _;

use crate::doc::Doc;

/// Writes what is said of a definition.
pub(super) fn write_doc(out: &mut String, doc: Option<&Doc>, name: &str) {
    let Some(doc) = doc else {
        let _ = writeln!(out, "/// `{name}` of the schema.");
        return;
    };
    write_text(out, "", &doc.body);
    if let Some(returns) = &doc.returns {
        let _ = writeln!(out, "///");
        write_text(out, "", &format!("Returns: {returns}"));
    }
    if let Some(errors) = &doc.errors {
        let _ = writeln!(out, "///\n/// # Errors\n///");
        write_text(out, "", errors);
    }
    for feature in &doc.features {
        let _ = writeln!(out, "///");
        write_text(
            out,
            "",
            &format!("Feature `{}`: {}", feature.name, feature.text),
        );
    }
    if !doc.example.is_empty() {
        let _ = writeln!(out, "///\n/// ```text");
        for line in &doc.example {
            let _ = writeln!(out, "/// {line}");
        }
        let _ = writeln!(out, "/// ```");
    }
    if let Some(since) = &doc.since {
        let _ = writeln!(out, "///\n/// Since {since}.");
    }
}

/// Writes what is said of a member or a value.
pub(super) fn write_member_doc(out: &mut String, doc: Option<&Doc>, name: &str) {
    let described = doc.and_then(|doc| doc.members.iter().find(|member| member.name == name));
    match described {
        Some(described) => write_text(out, "    ", &described.text),
        None => {
            let _ = writeln!(out, "    /// `{name}` of the schema.");
        }
    }
}

/// Writes lines of text, with `@name` as Rust's documentation marks a name.
pub(super) fn write_text(out: &mut String, indentation: &str, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "{indentation}/// {}", marked(line));
    }
}

fn marked(line: &str) -> String {
    let mut marked = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('@') {
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .unwrap_or(after.len());
        let (name, remaining) = after.split_at(end);
        let name_ends_sentence = name.trim_end_matches('-');
        if name_ends_sentence.is_empty() || before.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            marked.push_str(before);
            marked.push('@');
            marked.push_str(name);
        } else {
            marked.push_str(before);
            marked.push('`');
            marked.push_str(name);
            marked.push('`');
        }
        rest = remaining;
    }
    marked.push_str(rest);
    marked.replace('[', "\\[").replace('<', "\\<")
}
