//! Operations on a quiesced cache, which may wait for the medium.

use vmm_sys_util::epoll::EpollEvent;

use super::VolatileCache;
use super::cut::Torn;
use super::log::Change;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Operation, SECTOR_SIZE, Token};

impl VolatileCache {
    /// Waits until the medium has nothing in flight and no request waits for it.
    pub(super) fn settle(&mut self) {
        self.medium.flush_submissions();
        while !self.work.is_empty() {
            // An interrupted wait is a short one.
            let _ = self.medium_event.wait(-1, &mut [EpollEvent::default()]);
            let completions = self.medium.completed();
            self.medium_has_done(completions);
        }
    }

    /// Performs a request of the cache's own, and waits for it and for all others.
    fn perform(&mut self, operation: Operation, buffers: IoBuffers) -> Result<(), Errno> {
        self.settle();
        let before = std::mem::take(&mut self.ended);
        let request = HostRequest { operation, buffers };
        self.submit(Token(0), request);
        self.settle();
        let ended = std::mem::replace(&mut self.ended, before);
        self.ring_bell();
        ended.first().map_or(Err(Errno::EIO), |ended| ended.result)
    }

    pub(super) fn flush_now(&mut self) -> Result<(), Errno> {
        self.perform(Operation::Flush, IoBuffers::none())
    }

    /// Writes the beginning of a sector, and leaves the rest of it unchanged.
    pub(super) fn tear(&mut self, torn: &Torn) -> Result<(), Errno> {
        let offset = torn.offset / SECTOR_SIZE * SECTOR_SIZE;
        let sector = IoBuffers::own(512);
        self.perform(Operation::Read { offset }, sector.clone())?;
        let begin = usize::try_from(torn.offset - offset).unwrap_or_default();
        torn.bytes.copy_to(&sector.after(begin), 512);
        self.log.append(Change::write(offset, sector));
        Ok(())
    }
}
