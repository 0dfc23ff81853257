//! A raw image that was probed, not declared.
//!
//! At its next use it is probed again. A guest that could give it a qcow2 header could name a backing file of its
//! choice, and then read any file of the host. As in QEMU, a write that would give it the header of another format
//! fails with EPERM.

use vmm_sys_util::eventfd::EventFd;

use super::probing::{self, Guess, LOOKED_AT};
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::power_cut::{Loss, PowerCut};
use crate::block::model::request::{Capabilities, Completion, Operation, Token};

/// A backend on such an image, or on a layer in front of it.
pub struct Probed {
    backend: Box<dyn Backend>,
    ended: Vec<Completion>,
}

impl Probed {
    /// Keeps the guest from writing the header of another format.
    pub fn new(backend: Box<dyn Backend>) -> Self {
        Self {
            backend,
            ended: Vec::new(),
        }
    }
}

/// The request, as it may be performed.
fn checked(request: HostRequest) -> Result<HostRequest, Errno> {
    let is_at_start = matches!(request.operation, Operation::Write { offset: 0, .. });
    if !is_at_start || request.buffers.length() == 0 {
        return Ok(request);
    }
    // A copy, so that the guest cannot change it after the check.
    let start = IoBuffers::own(LOOKED_AT);
    let start = start.first(request.buffers.length());
    let buffers = request.buffers.with_start_in(&start);
    let mut bytes = [0; LOOKED_AT];
    start.copy_into(&mut bytes);
    if probing::guess(&bytes) != Guess::Raw {
        return Err(Errno(libc::EPERM));
    }
    Ok(HostRequest {
        operation: request.operation.clone(),
        buffers,
    })
}

impl Backend for Probed {
    fn submit(&mut self, token: Token, request: HostRequest) {
        match checked(request) {
            Ok(request) => self.backend.submit(token, request),
            Err(errno) => {
                let result = Err(errno);
                self.ended.push(Completion { token, result });
                let _ = self.backend.completion_event().write(1);
            }
        }
    }

    fn flush_submissions(&mut self) {
        self.backend.flush_submissions();
    }

    fn completed(&mut self) -> Vec<Completion> {
        let mut completed = self.backend.completed();
        completed.append(&mut self.ended);
        completed
    }

    fn poll(&mut self) -> Vec<Completion> {
        let mut completed = self.backend.poll();
        completed.append(&mut self.ended);
        completed
    }

    fn completion_event(&self) -> &EventFd {
        self.backend.completion_event()
    }

    fn close(&mut self) {
        self.backend.close();
    }

    fn length(&self) -> u64 {
        self.backend.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        self.backend.resize(length)
    }

    fn prepare_resize(&mut self, length: u64) -> bool {
        self.backend.prepare_resize(length)
    }

    fn is_preparing_resize(&self) -> bool {
        self.backend.is_preparing_resize()
    }

    fn power_cut(&mut self, cut: &PowerCut) -> Result<Loss, Errno> {
        self.backend.power_cut(cut)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::block::host::image::{Image, ImageOptions};
    use crate::block::tests::bench::{Bench, Kind, file, read, write};

    #[test]
    fn a_guest_cannot_make_a_raw_image_look_like_another_format() {
        for kind in [Kind::Threads, Kind::IoUring] {
            let file = file(1 << 20);
            let image = Arc::new(Image::open(file.path(), ImageOptions::default()).unwrap());
            let backend = Probed::new(kind.start(Arc::clone(&image)));
            let mut bench = Bench::with(Box::new(backend), image);
            bench.put(0, b"QFI\xfb\0\0\0\x03");
            assert_eq!(
                bench.perform(write(0), &[(0, 4), (4, 4092)]),
                Err(Errno(libc::EPERM))
            );
            assert_eq!(bench.perform(write(512), &[(0, 4096)]), Ok(()));
            assert_eq!(bench.perform(write(0), &[]), Ok(()));
            bench.put(0, &[0; 8]);
            bench.put(0x40, b"\x7f\x10\xda\xbe");
            assert_eq!(
                bench.perform(write(0), &[(0, 0x42), (0x42, 512 - 0x42)]),
                Err(Errno(libc::EPERM))
            );
            bench.put(0x40, &[0; 4]);
            bench.put(0, b"QFI\xfb\0\0\0\0");
            assert_eq!(bench.perform(write(0), &[(0, 3), (3, 4093)]), Ok(()));
            assert_eq!(bench.perform(read(0), &[(8192, 8192)]), Ok(()));
            assert_eq!(bench.get(8192, 4096), bench.get(0, 4096));
            assert_eq!(bench.get(8192 + 512, 8), bench.get(512, 8));
        }
    }
}
