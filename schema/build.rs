//! Turns the schema into Rust.
//!
//! This is the one place that says who executes which command: those of the modules named in `MONITOR_MODULES`, and
//! every accessor, are answered on the monitor's thread; all others are the machine's.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use faultvisor_qapi_generator::{Owners, generate, load};

/// The modules (files without `.json`) whose commands the monitor answers itself.
const MONITOR_MODULES: [&str; 3] = ["control", "signal", "introspect"];

fn main() -> Result<(), Box<dyn Error>> {
    let schema = load(Path::new("qapi/qapi-schema.json")).map_err(|error| {
        // Cargo shows the script's standard error; `file:line: message` is what editors jump to.
        eprintln!("schema/{error}");
        error
    })?;
    for file in &schema.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let owners = Owners {
        monitor: MONITOR_MODULES.map(str::to_owned).to_vec(),
    };
    let rust = generate(&schema, &owners)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("schema.rs"), rust)?;
    Ok(())
}
