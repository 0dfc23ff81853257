//! The C library, its header, and its pkg-config file.

use std::error::Error;
use std::fs;
use std::path::Path;

use faultvisor_tests::workspace::Workspace;

use super::place::Place;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Installs it.
pub fn install(workspace: &Workspace, built: &Path, place: &Place) -> Result<(), Box<dyn Error>> {
    let sources = workspace.root().join("client/capi");
    let file = format!("libqmp.so.{VERSION}");
    place.program(&built.join("libqmp.so"), &format!("lib/{file}"))?;
    // The names for the dynamic loader and for the linker.
    place.link("lib/libqmp.so.1", &file)?;
    place.link("lib/libqmp.so", "libqmp.so.1")?;
    place.file(&built.join("libqmp.a"), "lib/libqmp.a")?;
    place.file(&sources.join("include/libqmp.h"), "include/libqmp.h")?;
    let template = fs::read_to_string(sources.join("libqmp.pc.in"))?;
    let prefix = place.prefix().to_str().ok_or("the prefix is not UTF-8")?;
    let description = described(&template, prefix);
    place.content(description.as_bytes(), "lib/pkgconfig/libqmp.pc")?;
    Ok(())
}

/// Fills in the template.
fn described(template: &str, prefix: &str) -> String {
    template
        .replace("@PREFIX@", prefix)
        .replace("@VERSION@", VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_the_prefix_and_the_version() {
        let text = described("prefix=@PREFIX@\nVersion: @VERSION@\n", "/opt/x");
        assert_eq!(text, format!("prefix=/opt/x\nVersion: {VERSION}\n"));
    }
}
