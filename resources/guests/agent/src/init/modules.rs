//! The kernel's modules.

use std::ffi::CString;
use std::fs::{self, File};

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::kernel_log;

/// Loads the modules that a file lists: a path a line, in their order, and parameters behind it.
pub fn load(list: &str) {
    for line in fs::read_to_string(list).unwrap_or_default().lines() {
        let (path, parameters) = line.split_once(' ').unwrap_or((line, ""));
        if path.is_empty() || path.starts_with('#') {
            continue;
        }
        if let Err(why) = load_one(path, parameters) {
            kernel_log::say(&format!("cannot load the module '{path}': {why}"));
        }
    }
}

fn load_one(path: &str, parameters: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let parameters = CString::new(parameters).map_err(|error| error.to_string())?;
    match finit_module(file, &parameters, 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
