//! A schema's documentation as Rust documentation.

use std::fmt::Write as _;

use crate::doc::Doc;

/// Writes the documentation of a definition.
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
    for example in &doc.examples {
        let _ = writeln!(out, "///\n/// ```text");
        for line in &example.lines {
            let _ = writeln!(out, "/// {line}");
        }
        let _ = writeln!(out, "/// ```");
    }
    if let Some(since) = &doc.since {
        let _ = writeln!(out, "///\n/// Since {since}.");
    }
}

/// Writes the documentation of a member or a value.
pub(super) fn write_member_doc(out: &mut String, doc: Option<&Doc>, name: &str) {
    let described = doc.and_then(|doc| doc.members.iter().find(|member| member.name == name));
    match described {
        Some(described) => write_text(out, "    ", &described.text),
        None => {
            let _ = writeln!(out, "    /// `{name}` of the schema.");
        }
    }
}

/// Writes lines of text, with `@name` as code.
pub(super) fn write_text(out: &mut String, indentation: &str, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "{indentation}/// {}", marked(line));
    }
}

fn marked(line: &str) -> String {
    let marked = with_names(line, |name| format!("`{name}`"));
    marked.replace('[', "\\[").replace('<', "\\<")
}

/// A line with every `@name` replaced by `render`.
pub(super) fn with_names(line: &str, render: impl Fn(&str) -> String) -> String {
    let mut rendered = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('@') {
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .unwrap_or(after.len());
        let (name, remaining) = after.split_at(end);
        rendered.push_str(before);
        // Neither an e-mail address nor a lone `@` is a name.
        let is_name = !name.trim_end_matches('-').is_empty()
            && !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        if is_name {
            rendered.push_str(&render(name));
        } else {
            rendered.push('@');
            rendered.push_str(name);
        }
        rest = remaining;
    }
    rendered.push_str(rest);
    rendered
}
