//! Sources of a suite of Debian, as this machine's apt has them.

use std::path::Path;

use crate::tool::{self, ToolError};

/// Prefixes of apt's settings that concern the network or the clock.
const SETTINGS: [&str; 4] = [
    "Acquire::http",
    "Acquire::ftp",
    "Acquire::Retries",
    "Acquire::Check-",
];

/// The sources of a suite, with its backports, as lines of a sources.list; none if this machine knows no source of
/// Debian.
///
/// # Errors
///
/// apt fails.
pub fn list(suite: &str, keyring: &Path) -> Result<Option<String>, ToolError> {
    let mut indextargets = tool::command("apt-get")?;
    indextargets.args(["indextargets", "--format"]);
    indextargets.arg("$(ORIGIN) $(REPO_URI) $(CODENAME) $(COMPONENT)");
    let targets = tool::output(indextargets.arg("Created-By: Packages"))?;
    let sources = of_targets(&String::from_utf8_lossy(&targets), suite);
    let line = |(mirror, suite): &(String, String)| {
        format!(
            "deb [signed-by={}] {mirror} {suite} main\n",
            keyring.display()
        )
    };
    Ok(sources.map(|sources| sources.iter().map(line).collect()))
}

/// This machine's mirror of a suite of Debian; none if it knows none.
///
/// # Errors
///
/// apt fails.
pub fn mirror(suite: &str, keyring: &Path) -> Result<Option<String>, ToolError> {
    let lines = list(suite, keyring)?.unwrap_or_default();
    let of_backports = format!("{suite}-backports");
    let line = lines.lines().find(|line| line.contains(&of_backports));
    Ok(line.and_then(|line| Some(line.split(' ').nth(2)?.to_owned())))
}

/// This machine's apt settings, as mmdebstrap takes them.
///
/// # Errors
///
/// apt fails.
pub fn apt_options() -> Result<Vec<String>, ToolError> {
    let dump = tool::output(tool::command("apt-config")?.arg("dump"))?;
    Ok(of_dump(&String::from_utf8_lossy(&dump)))
}

/// Mirrors and suites: those of `wanted` among apt's index targets, or `wanted` from the mirror of another release, then
/// its backports.
fn of_targets(targets: &str, wanted: &str) -> Option<Vec<(String, String)>> {
    let mut sources = Vec::new();
    let mut other = None;
    for target in targets.lines() {
        let ["Debian", mirror, suite, "main"] = target.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let source = (mirror.to_owned(), suite.to_owned());
        if suite.starts_with(wanted) && !sources.contains(&source) {
            sources.push(source);
        } else if !suite.contains('-') {
            // Only a release: its updates may come from elsewhere.
            other.get_or_insert(mirror);
        }
    }
    let own = sources.iter().find(|(_, suite)| suite == wanted);
    let mirror = match own {
        Some((mirror, _)) => mirror.clone(),
        None => {
            sources = vec![(other?.to_owned(), wanted.to_owned())];
            other?.to_owned()
        }
    };
    let backports = (mirror, format!("{wanted}-backports"));
    if !sources.contains(&backports) {
        sources.push(backports);
    }
    Some(sources)
}

fn of_dump(dump: &str) -> Vec<String> {
    let is_wanted = |line: &&str| SETTINGS.iter().any(|prefix| line.starts_with(prefix));
    // A setting that has only members has no value.
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
        assert_eq!(of_targets(targets, "bookworm").unwrap(), expected);
    }

    #[test]
    fn backports_among_the_sources_are_not_added_again() {
        let targets = "Debian http://b.example/ bookworm-backports main\n\
                       Debian http://b.example/ bookworm main\n";
        let expected = [
            source("http://b.example/", "bookworm-backports"),
            source("http://b.example/", "bookworm"),
        ];
        assert_eq!(of_targets(targets, "bookworm").unwrap(), expected);
    }

    #[test]
    fn another_debian_s_mirror_has_debian_12_too() {
        let targets = "Debian http://b.example/security/ trixie-security main\n\
                       Debian http://a.example/debian/ trixie main\n";
        let expected = [
            source("http://a.example/debian/", "bookworm"),
            source("http://a.example/debian/", "bookworm-backports"),
        ];
        assert_eq!(of_targets(targets, "bookworm").unwrap(), expected);
    }

    #[test]
    fn without_debian_sources_there_is_no_mirror() {
        assert_eq!(
            of_targets("Ubuntu http://u.example/ noble main\n", "bookworm"),
            None
        );
        assert_eq!(of_targets("", "bookworm"), None);
    }

    #[test]
    fn apts_network_settings_are_passed_on() {
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
