//! Built-in commands. No server has commands of these names.

/// The text of 'help'.
pub const HELP: &str = "\
A line is a command of the server and its arguments: key=value, or one JSON object. A request in JSON, {\"execute\": ...}, is
one as well. Further lines:

  help [COMMAND|EVENT]            show this, or describe a command or an event
  watch [EVENT...] [device=NAME]  show these events, or all; --initial shows the current state first
  unwatch                         show no events
  --oob COMMAND ...               execute a command out of band
  quit-shell                      leave; so does Ctrl-D ('quit' is a command of the server: it ends the machine)

";

/// A built-in command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Shows help.
    Help,
    /// Shows events.
    Watch,
    /// Stops showing events.
    Unwatch,
    /// Leaves the shell.
    Quit,
}

impl Builtin {
    /// The built-in commands' names.
    pub const NAMES: [&'static str; 4] = ["help", "quit-shell", "unwatch", "watch"];

    /// The built-in command of this name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "help" => Some(Self::Help),
            "watch" => Some(Self::Watch),
            "unwatch" => Some(Self::Unwatch),
            "quit-shell" => Some(Self::Quit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_built_in_name_is_unique_and_in_the_help() {
        for name in Builtin::NAMES {
            assert!(
                Builtin::of(name).is_some() && HELP.contains(&format!("\n  {name} ")),
                "{name}"
            );
        }
        assert_eq!(Builtin::of("quit"), None);
    }
}
