//! From the driver's rings to the backend, a batch at a time.

use super::{Broken, Queues, Worker};

/// A batch for a host that does things while it is asked, as it does with what is in its page
/// cache: the driver goes on with the first of them while the host does the next.
const SMALL_BATCH: Batch = Batch {
    requests: 8,
    bytes: 256 << 10,
};

/// How much is submitted at once.
#[derive(Debug, Clone, Copy)]
struct Batch {
    requests: u16,
    bytes: u64,
}

/// Why the device looks away from a ring.
enum Look {
    /// It was empty, and the driver kicks when it is not any more.
    Empty,
    /// The batch is full.
    Later,
}

impl Worker {
    /// Takes what the driver has made available in a queue, at most one queue full at a time so
    /// that a driver which never stops cannot make the thread deaf.
    pub(super) fn serve(&mut self, queue: usize) {
        let Some(mut left) = self.ring_size(queue) else {
            return;
        };
        while self.running && self.resizes.is_empty() {
            let Some(mut active) = self.active.take() else {
                return;
            };
            let mut batch = Batch {
                requests: left,
                bytes: u64::MAX,
            };
            if self.host_is_immediate {
                batch.requests = left.min(SMALL_BATCH.requests);
                batch.bytes = SMALL_BATCH.bytes;
            }
            let looked = self.take_requests(&mut active, queue, &mut batch, &mut left);
            // Also when the queue is broken: what was taken from it before is to be done.
            self.parts.backend.flush_submissions();
            let is_later = matches!(looked, Ok(Look::Later));
            self.finish(active, looked.map(|_| ()));
            self.complete_ended();
            let completions = self.parts.backend.poll();
            self.host_is_immediate = !completions.is_empty();
            if self.host_is_immediate {
                self.answered_at_once = true;
                let completions = self.translate(completions);
                self.complete(completions);
            }
            if !is_later {
                return;
            }
            if left == 0 {
                // Come back after whatever else the thread has to do.
                if let Some(kick) = self.parts.kicks.get(queue) {
                    let _ = kick.write(1);
                }
                return;
            }
        }
    }

    fn ring_size(&mut self, queue: usize) -> Option<u16> {
        Some(self.active.as_mut()?.ring(queue)?.size())
    }

    fn take_requests(
        &mut self,
        active: &mut Queues,
        queue: usize,
        batch: &mut Batch,
        left: &mut u16,
    ) -> Result<Look, Broken> {
        let Some(ring) = active.ring(queue) else {
            return Ok(Look::Empty);
        };
        ring.disable_kicks()?;
        loop {
            while let Some(ring) = active.ring(queue)
                && ring.pop(&mut self.chain)?
            {
                let bytes = self.take_request(active, queue)?;
                *left = left.saturating_sub(1);
                batch.requests = batch.requests.saturating_sub(1);
                batch.bytes = batch.bytes.saturating_sub(bytes);
                if batch.requests == 0 || batch.bytes == 0 {
                    return Ok(Look::Later);
                }
                if !self.running {
                    // A fault has stopped the machine: what comes after it is not begun.
                    return Ok(Look::Empty);
                }
            }
            if self.is_polling {
                return Ok(Look::Empty);
            }
            let came_meanwhile = match active.ring(queue) {
                Some(ring) => ring.enable_kicks()?,
                None => false,
            };
            if !came_meanwhile {
                return Ok(Look::Empty);
            }
        }
    }
}
