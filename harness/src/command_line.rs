//! Commands as typed in a shell.

use std::path::Path;
use std::process::Command;

/// A command's program, without its directory, and its arguments.
pub fn typed(command: &Command) -> String {
    let program = command.get_program();
    let name = Path::new(program).file_name().unwrap_or(program);
    let mut line = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// A word, quoted for a shell if necessary.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_shell_needs_it() {
        assert_eq!(
            quoted("file=disk.img,format=raw"),
            "file=disk.img,format=raw"
        );
        assert_eq!(quoted("console=ttyS0 quiet"), "'console=ttyS0 quiet'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_command_line_names_the_program_without_its_directory() {
        let mut command = Command::new("/usr/bin/sh");
        command.args(["-c", "exit 3"]);
        assert_eq!(typed(&command), "sh -c 'exit 3'");
    }
}
