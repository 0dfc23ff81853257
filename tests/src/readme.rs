//! The commands in the README, as readers paste them.

const README: &str = include_str!("../../README.md");

/// Prefixes of the README's commands.
const PROGRAMS: [&str; 3] = ["cargo ", "qmp ", "target/"];

/// The commands in the README's code blocks, one line each.
pub fn commands() -> Vec<String> {
    commands_in(README)
}

/// The commands in a text's code blocks that name no language.
fn commands_in(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    // Text and blocks alternate.
    for block in text.split("\n```").skip(1).step_by(2) {
        let Some(block) = block.strip_prefix('\n') else {
            continue;
        };
        let lines = block.replace("\\\n", " ");
        let is_command = |line: &&str| PROGRAMS.iter().any(|name| line.starts_with(name));
        commands.extend(lines.lines().filter(is_command).map(str::to_owned));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_blocks_and_may_take_several_lines() {
        let text = "x\n```\ncargo a  # b\nsaid\n```\nqmp no\n```rust\ncargo no\n```\ny\n```\ntarget/a \\\n  --b\nqmp c\n```\n";
        assert_eq!(
            commands_in(text),
            ["cargo a  # b", "target/a    --b", "qmp c"]
        );
    }

    #[test]
    fn the_readme_has_commands_to_build_to_boot_and_to_query() {
        let commands = commands();
        for start in [
            "cargo xtask",
            "cargo build",
            "target/release/faultvisor",
            "qmp",
        ] {
            let has_start = |command: &String| command.starts_with(start);
            assert!(commands.iter().any(has_start), "{start}: {commands:?}");
        }
    }
}
