//! Help on a server's commands and events.

use crate::introspection::{Introspection, Rows};
use crate::output::on_one_line;
use crate::suggestion;

/// The widest list of names, in columns, unless a name is wider.
const WIDTH: usize = 100;

/// Lists all commands and events.
pub fn overview(introspection: &Introspection) -> String {
    let commands = columns(introspection.command_names());
    let events = columns(introspection.event_names());
    format!("Commands:\n{commands}\nEvents:\n{events}")
}

/// Describes a command or an event.
///
/// # Errors
///
/// The name is unknown: a sentence that says so.
pub fn about(introspection: &Introspection, name: &str) -> Result<String, String> {
    if let Ok(command) = introspection.command(name) {
        let arguments = rows(introspection, &command.arguments);
        let returns = rows(introspection, &command.returns);
        let mut text = on_one_line(name).into_owned();
        if command.allow_oob {
            text += ", which can be executed out of band";
        }
        if !command.features.is_empty() {
            text += &format!(" ({})", on_one_line(&command.features.join(", ")));
        }
        return Ok(format!(
            "{text}\n\nArguments:\n{arguments}\nReturns:\n{returns}"
        ));
    }
    let event = event_name(name);
    if let Some(of) = introspection.event_type(&event) {
        let data = rows(introspection, of);
        return Ok(format!("{event}\n\nTells:\n{data}"));
    }
    let known = introspection
        .command_names()
        .chain(introspection.event_names());
    let nearest = suggestion::nearest(name, known);
    Err(format!(
        "there is no command and no event '{name}'{}",
        suggestion::question(nearest)
    ))
}

/// An event's name in the schema, also from the spelling in its accessor.
pub fn event_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn rows(introspection: &Introspection, of: &str) -> String {
    let rows = Rows::of(introspection, of);
    if rows.is_empty() {
        return "  nothing\n".to_owned();
    }
    let names = rows.iter().map(|(name, _)| name.chars().count());
    let width = names.filter(|width| *width <= WIDTH / 2).max().unwrap_or(0);
    let line = |(name, of): &(String, String)| {
        let line = format!("  {:width$}  {}", on_one_line(name), on_one_line(of));
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Arranges names, from top to bottom, in as many columns as fit.
fn columns<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(on_one_line).collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let width = longest.unwrap_or(0) + 2;
    let count = (WIDTH / width).max(1);
    let rows = names.len().div_ceil(count);
    let line = |row: usize| {
        let cells = names.iter().skip(row).step_by(rows.max(1));
        let cells: String = cells.map(|name| format!("{name:width$}")).collect();
        format!("  {}\n", cells.trim_end())
    };
    (0..rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspection::samples;

    #[test]
    fn a_command_is_described_with_its_arguments_and_its_answer() {
        let text = about(&samples::faultvisor(), "block_resize").unwrap();
        let expected = "block_resize\n\nArguments:\n  [device]     string\n  [node-name]  string\n  size         integer\n\n\
                        Returns:\n  nothing\n";
        assert_eq!(text, expected);
        let text = about(&samples::masked(), "close").unwrap();
        assert_eq!(
            text,
            "close (deprecated)\n\nArguments:\n  nothing\n\nReturns:\n  nothing\n"
        );
        let text = about(&samples::masked(), "open").unwrap();
        assert!(
            text.starts_with("open, which can be executed out of band\n"),
            "{text}"
        );
        assert!(text.contains("\n  with driver=file:\n"), "{text}");
    }

    #[test]
    fn an_event_is_described_however_it_is_spelt() {
        for name in ["BLOCK_IO_ERROR", "block-io-error"] {
            let text = about(&samples::faultvisor(), name).unwrap();
            assert!(text.starts_with("BLOCK_IO_ERROR\n\nTells:\n"), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_nearest() {
        let error = about(&samples::faultvisor(), "blokc_resize").unwrap_err();
        let expected =
            "there is no command and no event 'blokc_resize'; did you mean 'block_resize'?";
        assert_eq!(error, expected);
    }

    #[test]
    fn names_stand_in_columns_from_top_to_bottom() {
        let names = ["a", "bb", "ccc", "d", &"e".repeat(47)];
        let text = columns(names.into_iter());
        let wide = |name: &str| format!("  {name:49}");
        assert_eq!(
            text,
            format!("{}d\n{}{}\n  ccc\n", wide("a"), wide("bb"), "e".repeat(47))
        );
        assert_eq!(columns([].into_iter()), "");
    }

    #[test]
    fn everything_is_listed() {
        let introspection = samples::faultvisor();
        let text = overview(&introspection);
        let words: Vec<&str> = text.split_whitespace().collect();
        let all = introspection
            .command_names()
            .chain(introspection.event_names());
        assert!(all.into_iter().all(|name| words.contains(&name)), "{text}");
    }
}
