//! The published packages, and a user's crate that depends on them from outside the workspace.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use faultvisor_tests::build;
use faultvisor_tests::tool;
use faultvisor_tests::workspace::Workspace;

use crate::{binaries, console};

/// The packages, each after those that it depends on.
const PACKAGES: [&str; 5] = [
    "faultvisor-qapi-generator",
    "faultvisor-schema",
    "libqmp",
    "faultvisor-agent-protocol",
    "faultvisor-harness",
];
/// The example, whose dependency on the harness is replaced.
const EXAMPLE: &str = "resources/examples/cargo-test";

/// The test programs of the user's crate.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Awaits a disk error.
    pub disk_error: PathBuf,
    /// Cuts the power.
    pub power_cut: PathBuf,
}

/// Packages the crates, unpacks what would be uploaded, and builds the example's tests with that alone.
pub fn build(workspace: &Workspace) -> Result<Outside, Box<dyn Error>> {
    console::note("packaging the crates for users' tests");
    let place = workspace.target().join("outside");
    let packages = package(workspace, &place)?;
    let user = place.join("user");
    copy_tests(&workspace.root().join(EXAMPLE).join("tests"), &user)?;
    fs::create_dir_all(user.join("src"))?;
    fs::write(user.join("src/lib.rs"), "")?;
    fs::write(user.join("Cargo.toml"), manifest(&packages))?;
    // The same versions of everything else, most of which is compiled already.
    fs::copy(workspace.root().join("Cargo.lock"), user.join("Cargo.lock"))?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--no-run", "--manifest-path"]);
    cargo.arg(user.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(workspace.target());
    let built = binaries::run(workspace, &mut cargo)?;
    Ok(Outside {
        disk_error: binaries::test_program(&built, "disk_error")?,
        power_cut: binaries::test_program(&built, "power_cut")?,
    })
}

/// Unpacks the packages into `place`, and returns their names with their directories.
fn package(
    workspace: &Workspace,
    place: &Path,
) -> Result<Vec<(&'static str, PathBuf)>, Box<dyn Error>> {
    let mut cargo = build::cargo();
    // Verified by what is built with them.
    cargo.args(["package", "--quiet", "--no-verify", "--allow-dirty"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    cargo.arg("--target-dir").arg(place);
    tool::run(cargo.current_dir(workspace.root()))?;
    let mut packages = Vec::new();
    for package in PACKAGES {
        let name = format!("{package}-{}", env!("CARGO_PKG_VERSION"));
        let file = place.join("package").join(format!("{name}.crate"));
        tool::run(
            tool::command("tar")?
                .arg("-xzf")
                .arg(file)
                .arg("-C")
                .arg(place),
        )?;
        packages.push((package, place.join(name)));
    }
    Ok(packages)
}

fn copy_tests(from: &Path, user: &Path) -> Result<(), Box<dyn Error>> {
    let to = user.join("tests");
    fs::create_dir_all(&to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// A manifest as a user's, but for the place of the packages.
fn manifest(packages: &[(&str, PathBuf)]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [workspace]\n\n\
         [dev-dependencies]\nfaultvisor-harness = \"{version}\"\n\n\
         [profile.dev]\nopt-level = 1\ndebug = \"line-tables-only\"\n\n[patch.crates-io]\n"
    );
    for (package, path) in packages {
        text.push_str(&format!("{package} = {{ path = {path:?} }}\n"));
    }
    text
}
