//! Turns the schema into Rust.
//!
//! Decides who executes which command: the monitor's thread those of the modules in `MONITOR_MODULES`, and every accessor;
//! the machine all others.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use faultvisor_qapi_generator::{Owners, generate, load};

/// The modules (files without `.json`) whose commands the monitor executes.
const MONITOR_MODULES: [&str; 3] = ["control", "signal", "introspect"];

/// The schema's first file.
const SCHEMA: &str = "qapi/qapi-schema.json";

/// The schema of the generator's tests. A build script cannot tell whether it builds for them.
const LANGUAGE: &str = "src/language/language.json";

fn main() -> Result<(), Box<dyn Error>> {
    let here =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?);
    println!("cargo::metadata=QAPI={}", here.join(SCHEMA).display());
    let owners = Owners {
        monitor: MONITOR_MODULES.map(str::to_owned).to_vec(),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    write(SCHEMA, &owners, &out.join("schema.rs"))?;
    write(LANGUAGE, &Owners::default(), &out.join("language.rs"))
}

fn write(schema: &str, owners: &Owners, out: &Path) -> Result<(), Box<dyn Error>> {
    let schema = load(Path::new(schema)).map_err(|error| {
        // Cargo shows the script's standard error; editors jump to `file:line: message`.
        eprintln!("schema/{error}");
        error
    })?;
    for file in &schema.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    fs::write(out, generate(&schema, owners)?)?;
    Ok(())
}
