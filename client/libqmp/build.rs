//! Writes a session's method for each command and each event of the schema.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use faultvisor_qapi_generator::{client, load};

/// The variable with the path of the schema's first file, which the build script of `faultvisor-schema` sets.
const SCHEMA: &str = "DEP_FAULTVISOR_SCHEMA_QAPI";

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::var_os(SCHEMA).ok_or_else(|| format!("{SCHEMA} is not set"))?;
    let schema = load(Path::new(&path))?;
    for file in &schema.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    Ok(fs::write(out.join("client.rs"), client(&schema))?)
}
