//! Blocking execution of one request on a raw image.

use rustix::fs::{FallocateFlags, fallocate};

use super::step::{Allocation, IoStep, Progress, Transfer, Way};
use crate::block::host::image::Image;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;

/// Performs the request, up to the first error.
pub(in crate::block) fn execute(image: &Image, request: HostRequest) -> Result<(), Errno> {
    let file = |way| match way {
        Way::Plain => image.file(),
        Way::Cached => image.cached_file(),
    };
    let mut progress = Progress::new(request);
    loop {
        let result = match progress.step(image) {
            IoStep::Read(Transfer {
                way,
                buffers,
                place,
            }) => buffers.read_from(file(way), place),
            IoStep::Write(
                Transfer {
                    way,
                    buffers,
                    place,
                },
                flags,
            ) => buffers.write_to(file(way), place, flags),
            IoStep::Sync => image
                .file()
                .sync_data()
                .map(|()| 0)
                .map_err(|error| Errno::of(&error)),
            IoStep::Allocate(Allocation { mode, range }) => {
                let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
                fallocate(image.file(), mode, range.offset, range.length)
                    .map(|()| 0)
                    .map_err(|error| Errno(error.raw_os_error()))
            }
            IoStep::Done(result) => return result,
        };
        progress.ended(image, result);
    }
}
