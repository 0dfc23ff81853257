//! Invariants of a qcow2 image, for any file contents and any requests.

mod damage;
mod examination;
mod layout;
mod model;
mod usage;

pub use examination::{Examination, FirstLevel, MIXED, SECTOR, Stamp, UNREADABLE, Verdict, stamp};
pub use layout::{Layout, Maker};
pub use model::{Ask, Model, perform};

use super::Choices;
use usage::Usage;

/// Opens and uses a valid image, one with damaged tables, or any bytes. Nothing panics; an image
/// without errors stays so, and reads as written; one with errors is refused, or used, or closed
/// with a notice of corruption.
pub(super) fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let kind = choices.byte();
    let (bytes, is_good) = match kind & 0x80 {
        0 => {
            let mut bytes = damage::good(kind, &mut choices);
            let is_damaged = damage::some(&mut bytes, &mut choices);
            (bytes, !is_damaged)
        }
        _ => {
            let length = usize::from(choices.byte());
            let (deeds, image) = choices.split(length);
            choices = deeds;
            (image.to_vec(), false)
        }
    };
    Usage::new(bytes, is_good, &mut choices).go_on(&mut choices);
}
