//! Where Debian 12 comes from: this machine's own sources, if it is one, and the backports beside them.

use std::path::Path;

use crate::tool::{self, ToolError};

/// The release's code name.
pub(super) const SUITE: &str = "bookworm";
/// Where machines without Debian 12 fetch it.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
/// What apt on this machine was told about fetching, as far as it is a matter of the network or of the clock.
const SETTINGS: [&str; 4] = [
    "Acquire::http",
    "Acquire::ftp",
    "Acquire::Retries",
    "Acquire::Check-",
];

/// The sources, as lines of a sources.list.
pub(super) fn list(keyring: &Path) -> Result<String, ToolError> {
    let mut indextargets = tool::command("apt-get")?;
    indextargets.args(["indextargets", "--format"]);
    indextargets.arg("$(ORIGIN) $(REPO_URI) $(CODENAME) $(COMPONENT)");
    let targets = tool::output(indextargets.arg("Created-By: Packages"))?;
    let sources = of_targets(&String::from_utf8_lossy(&targets));
    let line = |(mirror, suite): &(String, String)| {
        format!(
            "deb [signed-by={}] {mirror} {suite} main\n",
            keyring.display()
        )
    };
    Ok(sources.iter().map(line).collect())
}

/// What apt on this machine was told, as mmdebstrap takes it.
pub(super) fn apt_options() -> Result<Vec<String>, ToolError> {
    let dump = tool::output(tool::command("apt-config")?.arg("dump"))?;
    Ok(of_dump(&String::from_utf8_lossy(&dump)))
}

/// Mirrors and suites: those of Debian 12 among apt's index targets, or the default, then the backports.
fn of_targets(targets: &str) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for target in targets.lines() {
        let ["Debian", mirror, suite, "main"] = target.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let source = (mirror.to_owned(), suite.to_owned());
        if suite.starts_with(SUITE) && !sources.contains(&source) {
            sources.push(source);
        }
    }
    if sources.iter().all(|(_, suite)| suite != SUITE) {
        sources = vec![(DEFAULT_MIRROR.to_owned(), SUITE.to_owned())];
    }
    let mirror = sources.iter().find(|(_, suite)| suite == SUITE);
    let mirror = mirror.map_or(DEFAULT_MIRROR, |(mirror, _)| mirror);
    let backports = (mirror.to_owned(), format!("{SUITE}-backports"));
    if !sources.contains(&backports) {
        sources.push(backports);
    }
    sources
}

fn of_dump(dump: &str) -> Vec<String> {
    let is_wanted = |line: &&str| SETTINGS.iter().any(|prefix| line.starts_with(prefix));
    // One that has only members has no value.
    let has_value = |line: &&str| !line.ends_with("\"\";");
    let lines = dump.lines().filter(is_wanted).filter(has_value);
    lines
        .map(|line| line.trim_end_matches(';').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(mirror: &str, suite: &str) -> (String, String) {
        (mirror.to_owned(), suite.to_owned())
    }

    #[test]
    fn a_debian_12_is_made_from_the_machines_own_mirror() {
        let targets = "Debian http://a.example/debian/ bookworm main\n\
                       Debian http://a.example/debian/ bookworm contrib\n\
                       Debian http://b.example/security/ bookworm-security main\n\
                       Debian http://b.example/security/ bookworm-security main\n\
                       Other http://c.example/ bookworm main\n\
                       Debian http://a.example/debian/ trixie main\n\
                       \n";
        let expected = [
            source("http://a.example/debian/", "bookworm"),
            source("http://b.example/security/", "bookworm-security"),
            source("http://a.example/debian/", "bookworm-backports"),
        ];
        assert_eq!(of_targets(targets), expected);
    }

    #[test]
    fn backports_that_the_machine_has_itself_are_not_added_again() {
        let targets = "Debian http://b.example/ bookworm-backports main\n\
                       Debian http://b.example/ bookworm main\n";
        let expected = [
            source("http://b.example/", "bookworm-backports"),
            source("http://b.example/", "bookworm"),
        ];
        assert_eq!(of_targets(targets), expected);
    }

    #[test]
    fn other_machines_take_the_default_mirror() {
        let expected = [
            source(DEFAULT_MIRROR, "bookworm"),
            source(DEFAULT_MIRROR, "bookworm-backports"),
        ];
        assert_eq!(
            of_targets("Ubuntu http://u.example/ noble main\n"),
            expected
        );
        assert_eq!(of_targets(""), expected);
    }

    #[test]
    fn what_apt_was_told_about_the_network_is_passed_on() {
        let dump = "APT::Architecture \"amd64\";\nAcquire \"\";\nAcquire::http \"\";\n\
                    Acquire::http::Proxy \"http://p.example:3128\";\nAcquire::Check-Date \"false\";\n\
                    DPkg::Post-Invoke:: \"rm -rf /\";\n";
        assert_eq!(
            of_dump(dump),
            [
                "Acquire::http::Proxy \"http://p.example:3128\"",
                "Acquire::Check-Date \"false\""
            ]
        );
    }
}
