//! What a discard leaves alone.

use std::io;
use std::ops::Range;

use imago::{FormatAccess, ShallowMapping};

use super::layer::Layer;
use crate::block::Errno;

/// The first part of a range that leads to something: data, or an image under this one. The
/// library would add tables for the rest, to say that nothing is there.
pub(super) fn used_part(access: &FormatAccess<Layer>, range: Range<u64>) -> io::Result<Range<u64>> {
    let mut used = range.start..range.start;
    while used.end < range.end {
        let (mapping, count) = access.get_shallow_mapping(used.end, range.end - used.end)?;
        let is_unused = matches!(
            mapping,
            ShallowMapping::Zero {
                explicit: false,
                ..
            }
        );
        if is_unused && !used.is_empty() {
            break;
        }
        used.end = match count {
            // The disk ends here, which is for the library to say.
            0 => range.end,
            count => used.end + count,
        };
        if is_unused {
            used.start = used.end;
        }
    }
    Ok(used)
}

/// How a discard ends that ended so. It asks for nothing that the guest would notice, so a host
/// that has no space to note it is no reason to stop a machine.
pub(super) fn of_hint(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::ENOSPC) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_space_fails_no_discard() {
        assert_eq!(of_hint(Err(Errno::ENOSPC)), Ok(()));
        assert_eq!(of_hint(Err(Errno::EIO)), Err(Errno::EIO));
    }
}
