//! The history file.

use std::env;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Its path, in a directory that exists and that only the user can access; none if there is no place for one.
pub fn file() -> Option<PathBuf> {
    let directory = directory(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))?;
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .ok()?;
    Some(directory.join("history"))
}

/// Follows the XDG base directory specification: relative paths are ignored.
fn directory(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute =
        |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let state =
        absolute(state_home).or_else(|| absolute(home).map(|home| home.join(".local/state")))?;
    Some(state.join("qmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_follows_the_xdg_specification() {
        let found = |state: Option<&str>, home: Option<&str>| {
            directory(state.map(OsString::from), home.map(OsString::from))
        };
        assert_eq!(found(Some("/s"), Some("/h")), Some(PathBuf::from("/s/qmp")));
        assert_eq!(
            found(Some(""), Some("/h")),
            Some(PathBuf::from("/h/.local/state/qmp"))
        );
        assert_eq!(found(Some("s"), None), None);
        assert_eq!(found(None, None), None);
    }
}
