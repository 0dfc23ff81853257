//! The C library, its header, and what pkg-config says of it.

use std::error::Error;
use std::fs;
use std::path::Path;

use faultvisor_tests::workspace::Workspace;

use super::place::Place;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Puts it in place.
pub fn install(workspace: &Workspace, built: &Path, place: &Place) -> Result<(), Box<dyn Error>> {
    let sources = workspace.root().join("client/capi");
    let file = format!("libqmp.so.{VERSION}");
    place.program(&built.join("libqmp.so"), &format!("lib/{file}"))?;
    // What programs ask for when they start, and what the linker looks for.
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

/// The template with everything filled in.
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
