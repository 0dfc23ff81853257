//! Schemas as text.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(missing_docs)]

use std::fs;
use std::path::Path;

use faultvisor_qapi_generator::{Loaded, Owners, SchemaError, generate, load};
use tempfile::TempDir;

pub fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).unwrap();
}

pub fn load_text(text: &str) -> Result<Loaded, SchemaError> {
    let directory = TempDir::new().unwrap();
    write(directory.path(), "schema.json", text);
    load(&directory.path().join("schema.json"))
}

/// The line and the message of the error.
pub fn refused(text: &str) -> (u32, String) {
    let error = load_text(text)
        .and_then(|schema| generate(&schema, &Owners::default()))
        .expect_err("a bad schema");
    assert!(error.to_string().contains("schema.json:"), "{error}");
    (error.location.line(), error.message)
}

pub fn refusal(text: &str) -> String {
    refused(text).1
}

pub fn rust(text: &str) -> String {
    generate(&load_text(text).unwrap(), &Owners::default()).unwrap()
}
