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

/// Where the schema starts.
const SCHEMA: &str = "qapi/qapi-schema.json";

/// What the tests of the generated Rust are generated from. A build script cannot know whether it is for them.
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
        // Cargo shows the script's standard error; `file:line: message` is what editors jump to.
        eprintln!("schema/{error}");
        error
    })?;
    for file in &schema.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    fs::write(out, generate(&schema, owners)?)?;
    Ok(())
}
