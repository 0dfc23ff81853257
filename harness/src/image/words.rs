//! The programs that a command names.
//!
//! What a shell's text starts cannot be known without running it. So every word of it that is a program in `PATH` counts
//! as one: too many cost some space, and what a text only makes up at run time is missed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::tool;

/// Shells, whose option `-c` takes a text.
const SHELLS: [&str; 7] = ["sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"];
/// File systems with their own modules.
const FILE_SYSTEMS: [&str; 12] = [
    "bcachefs", "btrfs", "exfat", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3", "overlay", "reiserfs",
    "vfat", "xfs",
];

/// What a command may start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Programs of this machine.
    pub(super) programs: BTreeSet<PathBuf>,
    /// File systems that the command names.
    pub(super) file_systems: BTreeSet<String>,
}

/// The programs and file systems that a command names.
pub(super) fn of_command(command: &[String]) -> Needs {
    let mut needs = Needs::default();
    let mut words = Vec::new();
    for (index, argument) in command.iter().enumerate() {
        if index > 0 && is_text_of_shell(&command[..index]) {
            words.extend(of_text(argument));
        } else {
            words.push(argument.clone());
        }
    }
    for word in words {
        needs.programs.extend(program(&word));
        needs.file_systems.extend(file_system(&word));
    }
    needs
}

/// Whether what follows `before` is what a shell runs: `sh -c TEXT`, `env A=B bash -ec TEXT`.
fn is_text_of_shell(before: &[String]) -> bool {
    let mut backwards = before.iter().rev();
    let option = backwards.next().map(String::as_str).unwrap_or_default();
    let is_option = option.starts_with('-') && !option.starts_with("--") && option.ends_with('c');
    let mut others = backwards.skip_while(|word| word.starts_with('-'));
    let shell = others.next().map(|word| Path::new(word).file_name());
    let is_shell = |name: &std::ffi::OsStr| SHELLS.iter().any(|shell| *shell == name);
    is_option && shell.flatten().is_some_and(is_shell)
}

/// The words of a shell's text, without its quotes and operators.
fn of_text(text: &str) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || "\"'`;&|<>(){}$=!\\,#*?".contains(c);
    text.split(ends)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The program of this machine that a word names.
fn program(word: &str) -> Option<PathBuf> {
    if word.starts_with('-') {
        return None;
    }
    if !word.contains('/') {
        return tool::find(word);
    }
    let path = std::path::absolute(word).ok()?;
    tool::is_executable(&path).then_some(path)
}

/// The file system that a word names: by itself (`-t xfs`), or in a program's name (`mkfs.xfs`).
fn file_system(word: &str) -> Option<String> {
    let name = Path::new(word).file_name()?.to_str()?;
    let name = match name.split_once('.') {
        Some(("mkfs" | "fsck" | "mount", name)) => name,
        _ => word,
    };
    let known = FILE_SYSTEMS.iter().find(|known| **known == name)?;
    Some((*known).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn names(needs: &Needs) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        needs.programs.iter().map(name).collect()
    }

    #[test]
    fn the_words_of_a_shells_text_that_are_programs_are_found() {
        let text =
            "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && dd if=/dev/zero of=/mnt/x bs=1M";
        for shell in [
            &["sh", "-c"][..],
            &["/bin/sh", "-e", "-c"],
            &["env", "A=b", "sh", "-ec"],
        ] {
            let mut words = command(shell);
            words.push(text.to_owned());
            let needs = of_command(&words);
            let found = names(&needs);
            for name in ["dd", "mkfs.ext4", "mount", "sh"] {
                assert!(
                    found.contains(&name.to_owned()),
                    "{name} is not in {found:?}"
                );
            }
            assert_eq!(needs.file_systems, BTreeSet::from(["ext4".to_owned()]));
        }
    }

    #[test]
    fn operators_and_quotes_end_a_word() {
        assert_eq!(
            of_text("a|b;\"c d\" $(e) `f`>g&&h"),
            ["a", "b", "c", "d", "e", "f", "g", "h"]
        );
    }

    #[test]
    fn an_argument_that_is_no_shells_text_is_one_word() {
        let needs = of_command(&command(&["echo", "-c", "dd mount"]));
        assert_eq!(names(&needs), ["echo"]);
        let needs = of_command(&command(&["no-such-program-here", "--with", "/etc/passwd"]));
        assert_eq!(needs, Needs::default());
    }

    #[test]
    fn a_file_system_is_named_by_itself_or_by_its_programs() {
        let needs = of_command(&command(&["mount", "-t", "btrfs", "/dev/vda", "/mnt"]));
        assert_eq!(needs.file_systems, BTreeSet::from(["btrfs".to_owned()]));
        assert_eq!(file_system("/sbin/mkfs.xfs").as_deref(), Some("xfs"));
        assert_eq!(file_system("notes.xfs"), None);
        assert_eq!(file_system("ext4fs"), None);
    }
}
