//! Carrying out one request on a raw image, blocking.

use super::{Errno, Image, Operation, Request};

/// Does what the request says, to the end or to the first error.
pub(super) fn execute(image: &Image, request: &Request) -> Result<(), Errno> {
    let file = image.file();
    match request.operation {
        Operation::Read { offset } => request.buffers.read_from(file, offset),
        Operation::Write { offset, durability } => {
            request.buffers.write_to(file, offset, durability)
        }
        Operation::Flush => image.flush(),
    }
}
