//! Manuals, and what shells complete, made from the programs' own definitions of their command lines.

use std::error::Error;

use clap::Command;
use clap_complete::Shell;

use super::place::Place;

#[path = "../../../../../vmm/src/cli/definition.rs"]
mod faultvisor;

/// Where each shell looks for what completes a program's arguments.
fn completion(shell: Shell, program: &str) -> String {
    match shell {
        Shell::Zsh => format!("share/zsh/site-functions/_{program}"),
        Shell::Fish => format!("share/fish/vendor_completions.d/{program}.fish"),
        _ => format!("share/bash-completion/completions/{program}"),
    }
}

/// Puts them in place.
pub fn install(place: &Place) -> Result<(), Box<dyn Error>> {
    let manuals = place.directory("share/man/man1")?;
    for command in [faultvisor::command(), qmp_cli::command()] {
        clap_mangen::generate_to(command.clone(), &manuals)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let name = completion(shell, command.get_name());
            place.content(&completes(command.clone(), shell), &name)?;
        }
    }
    Ok(())
}

fn completes(mut command: Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}
