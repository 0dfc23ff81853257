//! Resizing of the disk.

use super::super::ResizeDone;
use super::Worker;
use crate::block::model::errno::Errno;

impl Worker {
    /// Queues a resize behind the earlier ones.
    pub(super) fn begin_resize(&mut self, length: u64, done: ResizeDone) {
        if !self.closing.is_empty() {
            return done(Err(Errno(libc::ECANCELED)));
        }
        self.preparing.push_back((length, done));
        if self.preparing.len() == 1 {
            self.prepare_resizes();
        }
    }

    /// Has the backend prepare the first resize. One without preparation waits for the requests in
    /// flight.
    fn prepare_resizes(&mut self) {
        while let Some((length, _)) = self.preparing.front()
            && !self.parts.backend.prepare_resize(*length)
        {
            self.prepared();
        }
    }

    /// Continues the first resize if the backend has prepared it.
    pub(super) fn end_preparation(&mut self) {
        if !self.preparing.is_empty() && !self.parts.backend.is_preparing_resize() {
            self.prepared();
            self.prepare_resizes();
        }
    }

    fn prepared(&mut self) {
        self.resizes.extend(self.preparing.pop_front());
        // Throttled requests are not admitted before it is done.
        self.limiter.suspend();
    }

    /// Refuses the resizes that are not prepared: the disk is being closed.
    pub(super) fn cancel_preparation(&mut self) {
        for (_, done) in self.preparing.drain(..) {
            done(Err(Errno(libc::ECANCELED)));
        }
    }

    pub(super) fn resize(&mut self, length: u64) -> Result<(), Errno> {
        self.parts.backend.resize(length)?;
        self.parts.space.resize(length);
        tracing::info!("disk '{}': {length} bytes", self.parts.configuration.id);
        match &self.active {
            Some(active) => active.interrupt.configuration_changed(),
            None => self.resized_unseen = true,
        }
        Ok(())
    }
}
