//! Names: the schema's rules for them, and their forms in Rust.

/// Words that Rust reserves, and that a member may be named.
const KEYWORDS: [&str; 38] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static",
    "struct", "trait", "type", "where",
];

/// The name of a Rust field or method.
pub(crate) fn snake(name: &str) -> String {
    let snake = name.replace(['-', '.'], "_").to_ascii_lowercase();
    if KEYWORDS.contains(&snake.as_str()) {
        format!("r#{snake}")
    } else {
        snake
    }
}

/// The name of a Rust type or variant, for `io-error`, `BLOCK_IO_ERROR` and `system_reset` alike.
pub(crate) fn camel(name: &str) -> String {
    let mut camel = String::new();
    for part in name.split(['-', '_', '.']) {
        let mut characters = part.chars();
        if let Some(first) = characters.next() {
            if camel.is_empty() && first.is_ascii_digit() {
                camel.push('V');
            }
            camel.push(first.to_ascii_uppercase());
            camel.extend(characters.map(|c| c.to_ascii_lowercase()));
        }
    }
    camel
}

/// The command that connects to an event.
pub(crate) fn accessor(event: &str) -> String {
    format!("get-{}-event", event.to_ascii_lowercase().replace('_', "-"))
}

/// Whether a name is of lower-case letters and digits with dashes between words.
pub(crate) fn is_dashed(name: &str) -> bool {
    is_word(name, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    })
}

/// As [`is_dashed`], with underscores and capitals, which a pragma may allow.
pub(crate) fn is_loose(name: &str) -> bool {
    is_word(name, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Whether a name is of capitals and digits with underscores between words.
pub(crate) fn is_event(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a name is one word that begins with a capital.
pub(crate) fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().any(|c| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_word(name: &str, allowed: impl Fn(char) -> bool) -> bool {
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_becomes_one_word() {
        assert_eq!(camel("io-error"), "IoError");
        assert_eq!(camel("BLOCK_IO_ERROR"), "BlockIoError");
        assert_eq!(camel("system_reset"), "SystemReset");
        assert_eq!(camel("1.44"), "V144");
    }

    #[test]
    fn an_accessor_is_the_event_in_lower_case_with_dashes() {
        assert_eq!(accessor("BLOCK_IO_ERROR"), "get-block-io-error-event");
    }

    #[test]
    fn a_keyword_may_be_a_member() {
        assert_eq!(snake("type"), "r#type");
        assert_eq!(snake("qom-path"), "qom_path");
    }
}
