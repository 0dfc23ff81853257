//! The agent's part of the kernel's command line.

use std::fs;
use std::path::Path;

/// What the kernel's command line says to the agent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `faultvisor.root=`: the device of the root file system.
    pub root: Option<String>,
    /// `faultvisor.rootfstype=`: its type; otherwise every one that the kernel knows is tried.
    pub file_system: Option<String>,
    /// `faultvisor.rootflags=`: its mount options.
    pub options: String,
    /// `ro`: it is not written to.
    pub is_read_only: bool,
    /// `faultvisor.then=`: the init to become.
    pub then: Option<String>,
}

impl CommandLine {
    /// Reads it, as far as it is there.
    pub fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let value = value.to_owned();
            match name {
                "faultvisor.root" => parsed.root = Some(value),
                "faultvisor.rootfstype" => parsed.file_system = Some(value),
                "faultvisor.rootflags" => parsed.options = value,
                "faultvisor.then" => parsed.then = Some(value),
                "ro" => parsed.is_read_only = true,
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_words_count() {
        let parsed = CommandLine::parse(
            "console=ttyS0 faultvisor.root=/dev/vda faultvisor.rootflags=a=b,c ro\n",
        );
        let expected = CommandLine {
            root: Some("/dev/vda".to_owned()),
            options: "a=b,c".to_owned(),
            is_read_only: true,
            ..CommandLine::default()
        };
        assert_eq!(parsed, expected);
    }
}
