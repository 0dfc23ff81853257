//! Where the agent's program is on this machine.

use std::env;
use std::path::{Path, PathBuf};

use super::ImageError;

/// The agent's program.
const NAME: &str = "faultvisor-agent";
/// The variable that names its file.
const VARIABLE: &str = "FAULTVISOR_AGENT";
/// Where a checkout of the project has it, below cargo's target directory.
const BUILT: &str = "guests/x86_64-unknown-linux-gnu/release";

/// Finds the agent: `$FAULTVISOR_AGENT`; beside the program `faultvisor`, which may be given, or in
/// `../libexec/faultvisor` from there; the same for this program; or where a checkout of the project builds it.
///
/// # Errors
///
/// There is none.
pub fn find(faultvisor: Option<&Path>) -> Result<PathBuf, ImageError> {
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(ImageError::AgentVariable(path))
        };
    }
    let this = env::current_exe().ok();
    let programs = [faultvisor, this.as_deref()];
    let mut candidates = programs.into_iter().flatten().flat_map(beside);
    candidates
        .find(|path| path.is_file())
        .ok_or(ImageError::NoAgent)
}

/// Where the agent may be for a program that comes with it.
fn beside(program: &Path) -> Vec<PathBuf> {
    // An installed program may be a link.
    let program = program
        .canonicalize()
        .unwrap_or_else(|_| program.to_path_buf());
    let Some(directory) = program.parent() else {
        return Vec::new();
    };
    let mut found = vec![
        directory.join(NAME),
        directory.join("../libexec/faultvisor").join(NAME),
    ];
    // cargo builds programs in `target/PROFILE`, and those of tests in `target/PROFILE/deps`.
    let target = directory
        .ancestors()
        .find(|above| above.join(BUILT).is_dir());
    found.extend(target.map(|target| target.join(BUILT).join(NAME)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_agent_is_beside_the_program_or_where_a_checkout_builds_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let first_of = |program: &str| {
            let found = beside(&root.join(program));
            found.into_iter().find(|path| path.is_file())
        };
        for name in ["usr/bin", "usr/libexec/faultvisor", "target/release/deps"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::create_dir_all(root.join("target").join(BUILT)).unwrap();
        assert_eq!(first_of("usr/bin/fvctl"), None);

        let built = root.join("target").join(BUILT).join(NAME);
        fs::write(&built, "").unwrap();
        assert_eq!(first_of("target/release/fvctl"), Some(built.clone()));
        assert_eq!(first_of("target/release/deps/test-1"), Some(built));

        fs::write(root.join("usr/libexec/faultvisor").join(NAME), "").unwrap();
        let installed = first_of("usr/bin/fvctl").unwrap().canonicalize().unwrap();
        assert_eq!(installed, root.join("usr/libexec/faultvisor").join(NAME));

        fs::write(root.join("usr/bin").join(NAME), "").unwrap();
        assert_eq!(
            first_of("usr/bin/fvctl"),
            Some(root.join("usr/bin").join(NAME))
        );
    }
}
