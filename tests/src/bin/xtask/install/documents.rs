//! Manuals and shell completions, generated from the programs' command line definitions.

use std::error::Error;

use clap::{ArgAction, Command};
use clap_complete::Shell;
use qmp_cli::scripts;

use super::place::Place;

#[path = "../../../../../vmm/src/cli/definition.rs"]
mod faultvisor;

/// The directories of each shell's completions.
fn completion(shell: Shell, program: &str) -> String {
    match shell {
        Shell::Zsh => format!("share/zsh/site-functions/_{program}"),
        Shell::Fish => format!("share/fish/vendor_completions.d/{program}.fish"),
        _ => format!("share/bash-completion/completions/{program}"),
    }
}

/// Installs them.
pub fn install(place: &Place) -> Result<(), Box<dyn Error>> {
    let manuals = place.directory("share/man/man1")?;
    for command in [faultvisor::command(), qmp_cli::command(), fvctl::command()] {
        let synopsis = synopsis(&command);
        clap_mangen::generate_to(command.clone().override_usage(synopsis), &manuals)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let name = completion(shell, command.get_name());
            let mut script = completes(command.clone(), shell)?;
            if command.get_name() == "qmp" {
                script = with_server(shell, &script)?;
            }
            place.content(script.as_bytes(), &name)?;
        }
    }
    Ok(())
}

/// A program's synopsis: every option with its value, and the positional arguments.
fn synopsis(command: &Command) -> String {
    let mut words = vec![command.get_name().to_owned()];
    let options = command.get_opts().filter(|option| !option.is_hide_set());
    for option in options {
        let name = match (option.get_long(), option.get_short()) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(short)) => format!("-{short}"),
            (None, None) => continue,
        };
        let takes_value = option.get_action().takes_values();
        let values = option.get_value_names().filter(|_| takes_value);
        let values = values
            .unwrap_or_default()
            .iter()
            .map(|value| format!(" {value}"));
        let called = format!("{name}{}", values.collect::<String>());
        let repeats = matches!(option.get_action(), ArgAction::Append);
        words.push(match (option.is_required_set(), repeats) {
            (true, _) => called,
            (false, true) => format!("[{called}]..."),
            (false, false) => format!("[{called}]"),
        });
    }
    for positional in command.get_positionals() {
        let names = positional.get_value_names().unwrap_or_default();
        words.push(format!("[{}]", names.join(" ")));
    }
    if command.has_subcommands() {
        words.push("[COMMAND]".to_owned());
    }
    words.join(" ")
}

fn completes(mut command: Command, shell: Shell) -> Result<String, Box<dyn Error>> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    Ok(String::from_utf8(script)?)
}

/// qmp's completion script, which asks the server as well.
fn with_server(shell: Shell, options: &str) -> Result<String, Box<dyn Error>> {
    let shell = match shell {
        Shell::Zsh => scripts::Shell::Zsh,
        Shell::Fish => scripts::Shell::Fish,
        _ => scripts::Shell::Bash,
    };
    let script = scripts::with_server(shell, options);
    Ok(script.ok_or("what completes qmp's options is not as it should be")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synopsis_has_each_option_with_its_value() {
        let synopsis = synopsis(&faultvisor::command());
        assert!(synopsis.starts_with("faultvisor "), "{synopsis}");
        for (name, value, _) in faultvisor::WITH_VALUE {
            let dashes = if name.len() == 1 { "-" } else { "--" };
            let option = format!("[{dashes}{name} {value}]");
            assert!(synopsis.contains(&option), "no {option} in {synopsis}");
        }
        for (name, _) in faultvisor::SWITCHES {
            let dashes = if name.len() == 1 { "-" } else { "--" };
            assert!(
                synopsis.contains(&format!("[{dashes}{name}]")),
                "{synopsis}"
            );
        }
    }

    #[test]
    fn the_manual_has_the_keys_of_the_options() {
        let command = faultvisor::command();
        let command = command.clone().override_usage(synopsis(&command));
        let mut manual = Vec::new();
        clap_mangen::Man::new(command).render(&mut manual).unwrap();
        let manual = String::from_utf8(manual).unwrap();
        for expected in ["volatile", "errno=NAME", "Examples:", "KEYS"] {
            assert!(manual.contains(expected), "no {expected} in {manual}");
        }
    }
}
