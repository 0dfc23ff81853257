//! The cache as a backend.

use vmm_sys_util::eventfd::EventFd;

use super::{VolatileCache, cut};
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::cache_state::CacheState;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Loss, PowerCut};
use crate::block::model::request::{Capabilities, Completion, Operation, Token};
use crate::life_cycle::RestoreError;

impl Backend for VolatileCache {
    fn submit(&mut self, token: Token, request: HostRequest) {
        if i64::try_from(request.end()).is_err() {
            return self.end(token, Err(Errno::EFBIG));
        }
        if let Operation::Read { .. } = request.operation {
            return self.read(token, request);
        }
        self.queue.push_back((token, request));
        if self.queue.len() == 1 {
            self.advance();
        }
    }

    fn flush_submissions(&mut self) {
        self.medium.flush_submissions();
        self.ring_bell();
    }

    fn completed(&mut self) -> Vec<Completion> {
        // This also clears the event: later completions make it readable again.
        let completions = self.medium.completed();
        self.medium_has_done(completions);
        std::mem::take(&mut self.ended)
    }

    fn poll(&mut self) -> Vec<Completion> {
        let completions = self.medium.poll();
        self.medium_has_done(completions);
        std::mem::take(&mut self.ended)
    }

    fn completion_event(&self) -> &EventFd {
        self.medium.completion_event()
    }

    fn length(&self) -> u64 {
        self.medium.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.medium.capabilities()
    }

    fn close(&mut self) {
        if let Err(errno) = self.flush_now() {
            tracing::error!("what is left in a disk's write cache cannot be written: {errno}");
        }
        self.medium.close();
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        let flushed = self.flush_now();
        // What is on the medium need not be durable for this.
        if !self.log.is_empty() {
            return Err(flushed.err().unwrap_or(Errno::EIO));
        }
        self.medium.resize(length)
    }

    fn prepare_resize(&mut self, length: u64) -> bool {
        self.medium.prepare_resize(length)
    }

    fn is_preparing_resize(&self) -> bool {
        self.medium.is_preparing_resize()
    }

    fn save_cache(&mut self) -> Option<CacheState> {
        Some(self.saved())
    }

    fn restore_cache(&mut self, state: Option<&CacheState>) -> Result<(), RestoreError> {
        let mismatch = || RestoreError::Mismatch {
            what: "volatile cache",
            saved: "off".to_owned(),
            own: "on".to_owned(),
        };
        self.restore(state.ok_or_else(mismatch)?)
    }

    fn power_cut(&mut self, cut: &PowerCut) -> Result<Loss, Errno> {
        self.settle();
        let remains = cut::remains(&self.log.take(), cut);
        self.write_back.forget(&self.log);
        for change in remains.changes {
            self.log.append(change);
        }
        self.flush_now()?;
        if let Some(torn) = remains.torn {
            self.tear(&torn)?;
            self.flush_now()?;
        }
        // A medium with a cache of its own keeps everything that was flushed.
        self.medium.power_cut(cut)?;
        Ok(remains.loss)
    }
}
