//! Writes a session's method for each command and each event of the schema.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use faultvisor_qapi_generator::{client, load};

/// The schema's first file.
const SCHEMA: &str = "../../schema/qapi/qapi-schema.json";

fn main() -> Result<(), Box<dyn Error>> {
    let schema = load(Path::new(SCHEMA))?;
    for file in &schema.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    Ok(fs::write(out.join("client.rs"), client(&schema))?)
}
