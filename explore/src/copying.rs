//! `fvctl cp`.

use crate::failure::Failure;
use crate::options::CopyOptions;
use crate::place::Place;
use crate::progress::Progress;
use crate::{keeping, kept};

/// Copies a file or a tree between this host and a guest.
///
/// # Errors
///
/// There is no such guest or file, or one of both ends is not a guest's.
pub fn copy(options: &CopyOptions) -> Result<u8, Failure> {
    let progress = Progress::start();
    match (&options.from, &options.to) {
        (Place::Here(from), Place::Guest { name, path }) => {
            progress.note(&format!("copying '{}' to '{name}'", from.display()));
            keeping::guest(&kept::find(name)?).copy_in(from, path)?;
        }
        (Place::Guest { name, path }, Place::Here(to)) => {
            progress.note(&format!("copying '{path}' from '{name}'"));
            keeping::guest(&kept::find(name)?).copy_out(path, to)?;
        }
        _ => {
            return Err(Failure::Usage(
                "one of both must be NAME:PATH, in a guest that was kept".to_owned(),
            ));
        }
    }
    Ok(0)
}
