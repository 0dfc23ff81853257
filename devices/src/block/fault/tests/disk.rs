//! A disk in memory, whose requests end when the test says.

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, Completion, Operation, Token};

/// A backend that keeps what is written to it.
pub struct MemoryDisk {
    pub bytes: Vec<u8>,
    /// Requests that have not ended, in the order in which they came.
    pub pending: Vec<(Token, HostRequest)>,
    finished: Vec<Completion>,
    event: EventFd,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            pending: Vec::new(),
            finished: Vec::new(),
            event: EventFd::new(EFD_NONBLOCK).unwrap(),
        }
    }

    /// Ends a request: it is performed, or fails and is not.
    pub fn end(&mut self, index: usize, result: Result<(), Errno>) {
        let (token, request) = self.pending.remove(index);
        if result.is_ok() {
            self.perform(&request);
        }
        self.finished.push(Completion { token, result });
    }

    fn perform(&mut self, request: &HostRequest) {
        let length = usize::try_from(request.length()).unwrap();
        match request.operation {
            Operation::Read { offset } => {
                let offset = usize::try_from(offset).unwrap();
                request.buffers.copy_from(&self.bytes[offset..][..length]);
            }
            Operation::Write { offset, .. } => {
                let offset = usize::try_from(offset).unwrap();
                request
                    .buffers
                    .copy_into(&mut self.bytes[offset..][..length]);
            }
            _ => {}
        }
    }
}

impl Backend for MemoryDisk {
    fn submit(&mut self, token: Token, request: HostRequest) {
        let is_free = |(other, _): &(Token, _)| *other != token;
        assert!(self.pending.iter().all(is_free), "{token:?} is in flight");
        self.pending.push((token, request));
    }

    fn completed(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.finished)
    }

    fn completion_event(&self) -> &EventFd {
        &self.event
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn resize(&mut self, _: u64) -> Result<(), Errno> {
        Err(Errno::EIO)
    }
}
