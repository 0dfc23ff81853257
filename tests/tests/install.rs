//! `cargo xtask install` puts the files in place, and they work there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use faultvisor_tests::packages::{self, CC, PKG_CONFIG};

/// Fails to connect, and prints why.
const PROGRAM: &str = r#"
#include <libqmp.h>
#include <stdio.h>

int main(void)
{
    QmpError *error = NULL;
    QmpSession *session = libqmp_session_new_unix("/no/such/socket", &error);

    if (session != NULL || error == NULL) {
        return 1;
    }
    puts(libqmp_error_message(error));
    libqmp_error_free(error);
    return 0;
}
"#;

/// The output of a command, which has to succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {errors}");
    String::from_utf8(stdout).unwrap()
}

/// Builds with the tests' profile, which is built already.
fn install(prefix: &Path, destdir: Option<&Path>) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask
        .args(["install", "--profile", "dev", "--prefix"])
        .arg(prefix);
    if let Some(destdir) = destdir {
        xtask.arg("--destdir").arg(destdir);
    }
    said(&mut xtask);
}

#[test]
fn installed_files_are_at_their_standard_paths_and_work() {
    packages::ensure_installed(&[CC, PKG_CONFIG], &|_| {}).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("prefix");
    install(&prefix, None);

    for program in ["faultvisor", "qmp", "fvctl"] {
        let version = said(Command::new(prefix.join("bin").join(program)).arg("--version"));
        assert!(version.starts_with(program), "{version}");
        let manual =
            fs::read_to_string(prefix.join(format!("share/man/man1/{program}.1"))).unwrap();
        assert!(manual.contains(".TH "), "{manual}");
        for completion in [
            format!("share/bash-completion/completions/{program}"),
            format!("share/zsh/site-functions/_{program}"),
            format!("share/fish/vendor_completions.d/{program}.fish"),
        ] {
            let script = fs::read_to_string(prefix.join(&completion)).unwrap();
            assert!(script.contains(program), "{completion}");
            // The server provides its commands and their arguments.
            let asks = script.contains("qmp complete -- ");
            assert_eq!(asks, program == "qmp", "{completion}");
        }
    }
    let agent = prefix.join("libexec/faultvisor/faultvisor-agent");
    assert!(said(Command::new(agent).arg("--help")).contains("faultvisor-agent"));
    let watch = fs::read_to_string(prefix.join("share/man/man1/qmp-watch.1")).unwrap();
    assert!(watch.contains("accessor"), "{watch}");

    let source = directory.path().join("program.c");
    let program = directory.path().join("program");
    fs::write(&source, PROGRAM).unwrap();
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let flags = said(pkg_config.args(["--cflags", "--libs", "libqmp"]));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-o"]);
    compiler.arg(&program).arg(&source);
    said(compiler.args(flags.split_whitespace()));
    let error = said(Command::new(&program).env("LD_LIBRARY_PATH", prefix.join("lib")));
    assert!(error.contains("No such file or directory"), "{error}");
}

#[test]
fn destdir_stages_a_package() {
    let directory = tempfile::tempdir().unwrap();
    install(Path::new("/usr"), Some(directory.path()));
    let description = directory.path().join("usr/lib/pkgconfig/libqmp.pc");
    let description = fs::read_to_string(description).unwrap();
    assert!(description.contains("prefix=/usr\n"), "{description}");
    let link = fs::read_link(directory.path().join("usr/lib/libqmp.so")).unwrap();
    assert_eq!(link, Path::new("libqmp.so.1"));
}
