//! Carrying out one request on a raw image, blocking.

use std::sync::Arc;

use super::progress::{Progress, Step};
use super::{Errno, Image, Request};

/// Does what the request says, to the end or to the first error.
pub(super) fn execute(image: &Image, request: Arc<Request>) -> Result<(), Errno> {
    let file = image.file();
    let mut progress = Progress::new(request);
    loop {
        let result = match progress.step(image) {
            Step::Read(buffers, place) => buffers.read_from(file, place),
            Step::Write(buffers, place, flags) => buffers.write_to(file, place, flags),
            Step::Sync => file
                .sync_data()
                .map(|()| 0)
                .map_err(|error| Errno::of(&error)),
            Step::Done(result) => return result,
        };
        progress.ended(image, result);
    }
}
