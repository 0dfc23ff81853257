//! Generates the header and the Rust behind it from the schema.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use faultvisor_qapi_generator::{c_library, load};

/// The schema's first file.
const SCHEMA: &str = "../../schema/qapi/qapi-schema.json";

/// The handwritten part of the header.
const TEMPLATE: &str = "include/libqmp.h.in";

/// The name that programs are linked against. Its number grows when they have to be compiled again.
const SONAME: &str = "libqmp.so.1";

fn main() -> Result<(), Box<dyn Error>> {
    let schema = load(Path::new(SCHEMA))?;
    for file in &schema.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    println!("cargo::rerun-if-changed={TEMPLATE}");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
    let library = c_library(&schema)?;
    let header = library
        .header(&fs::read_to_string(TEMPLATE)?)
        .ok_or("the header's template does not say where the schema's part stands")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("libqmp.h"), header)?;
    Ok(fs::write(out.join("c.rs"), library.rust)?)
}
