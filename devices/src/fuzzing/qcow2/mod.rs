//! What holds of a qcow2 image, whatever is in its file and whatever its driver asks for.

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

/// A good image or one with some of its tables changed, or any bytes, is opened and used. Nothing
/// panics; an image without errors stays so, and reads as what was written to it; one that has some
/// is refused, or used on, or given up with a notice.
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
