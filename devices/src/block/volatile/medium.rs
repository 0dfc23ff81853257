//! Requests to the medium, and their completion.

use super::write_back::Next;
use super::{Flush, VolatileCache};
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Completion, Operation, Range, Token};

/// A request's purpose.
pub(super) enum Work {
    /// A read. The log's content is overlaid onto the medium's.
    Read(Token, Option<Overlay>),
    /// A write-back of a change.
    WriteBack(u64),
    /// A flush, or the end of a durable request.
    Flush(Token),
    /// A request that is too large for the cache.
    Through(Token),
}

/// A read that overlaps the log.
pub(super) struct Overlay {
    pub range: Range,
    pub buffers: IoBuffers,
}

impl VolatileCache {
    pub(super) fn ask_medium(&mut self, work: Work, request: HostRequest) {
        let number = self.next_work;
        self.next_work += 1;
        if matches!(work, Work::Read(_, Some(_))) {
            self.overlaid.insert(number);
        }
        self.work.insert(number, work);
        self.medium.submit(Token(number), request);
    }

    pub(super) fn start_write_back(&mut self) {
        while let Some(next) = self.write_back.next(&self.log) {
            match next {
                Next::Failed(ordinal, errno) => self.not_written(ordinal, errno),
                Next::Start(ordinal) => {
                    if let Some(change) = self.log.get(ordinal) {
                        let request = change.request();
                        self.ask_medium(Work::WriteBack(ordinal), request);
                    }
                }
            }
        }
    }

    /// A change is not on the medium, and remains in the log: nothing that waits for it is durable.
    fn not_written(&mut self, ordinal: u64, errno: Errno) {
        if let Some(change) = self.log.get(ordinal) {
            self.write_back.failed(ordinal, change, errno);
        }
        let first = self
            .flushes
            .partition_point(|flush| flush.before <= ordinal);
        for Flush { token, .. } in self.flushes.split_off(first) {
            self.end(token, Err(errno));
        }
    }

    /// Flushes the medium for requests whose changes are written back.
    pub(super) fn flush_medium(&mut self) {
        let oldest = self.write_back.oldest().unwrap_or(u64::MAX);
        let is_ready = |flush: &Flush| flush.before <= oldest;
        while self.flushes.front().is_some_and(is_ready)
            && let Some(flush) = self.flushes.pop_front()
        {
            let request = HostRequest::without_data(Operation::Flush);
            self.ask_medium(Work::Flush(flush.token), request);
        }
    }

    /// Removes from the log what no read in flight needs any more.
    fn release(&mut self) {
        let oldest = self.overlaid.first().copied().unwrap_or(u64::MAX);
        while let Some(&(ordinal, reads)) = self.written.front()
            && reads <= oldest
        {
            self.written.pop_front();
            let cost = self.log.remove(ordinal);
            self.write_back.has_left(cost);
        }
    }

    /// Takes the medium's completions.
    pub(super) fn medium_has_done(&mut self, completions: Vec<Completion>) {
        if completions.is_empty() {
            return;
        }
        for Completion { token, result } in completions {
            match self.work.remove(&token.0) {
                Some(Work::Read(read, overlay)) => {
                    self.overlaid.remove(&token.0);
                    if let (Ok(()), Some(Overlay { range, buffers })) = (result, overlay) {
                        self.log.read(range, &buffers);
                    }
                    self.end(read, result);
                }
                Some(Work::WriteBack(ordinal)) => {
                    self.write_back.ended(ordinal);
                    match result {
                        Ok(()) => self.written.push_back((ordinal, self.next_work)),
                        Err(errno) => self.not_written(ordinal, errno),
                    }
                }
                Some(Work::Flush(flush)) => self.end(flush, result),
                Some(Work::Through(request)) => {
                    self.through = false;
                    self.end(request, result);
                }
                None => tracing::error!(?token, "the medium of a cache completed twice"),
            }
        }
        self.release();
        self.advance();
        self.medium.flush_submissions();
    }
}
