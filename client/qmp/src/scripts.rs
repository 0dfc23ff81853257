//! Completion scripts for shells.
//!
//! clap generates the script that completes options. The part that completes the rest, by `qmp complete`, which queries
//! the server, is written by hand for each shell in `completions`.

/// The supported shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// Where a generated script for zsh defines its function.
const ZSH_FUNCTION: &str = "\n_qmp() {";

/// Extends a generated script with completion from the server. None if the script is not of the expected form.
#[must_use]
pub fn with_server(shell: Shell, options: &str) -> Option<String> {
    match shell {
        Shell::Bash => Some(format!(
            "{options}{}",
            include_str!("../completions/qmp.bash")
        )),
        Shell::Fish => Some(format!(
            "{options}{}",
            include_str!("../completions/qmp.fish")
        )),
        Shell::Zsh => {
            let (before, behind) = options.split_once(ZSH_FUNCTION)?;
            let (first, rest) = before.split_once('\n')?;
            let own = include_str!("../completions/qmp.zsh");
            Some(format!("{first}\n\n{own}{rest}\n_qmp_options() {{{behind}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zsh_function_queries_the_server_first() {
        let script = with_server(
            Shell::Zsh,
            "#compdef qmp\n\nautoload -U is\n_qmp() {\n  typeset\n}\n",
        )
        .unwrap();
        assert!(script.starts_with("#compdef qmp\n"), "{script}");
        let (own, options) = script.split_once("\n_qmp_options() {\n  typeset").unwrap();
        assert!(
            own.contains("\n_qmp() {\n") && own.contains("autoload"),
            "{own}"
        );
        assert!(!options.contains("_qmp() {"), "{options}");
        assert_eq!(with_server(Shell::Zsh, "#compdef qmp\n_other() {\n"), None);
    }
}
