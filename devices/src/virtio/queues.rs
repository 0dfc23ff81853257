//! The queues of an active driver: their rings, what is unanswered in each, and which to interrupt for.

use std::sync::Arc;

use vm_memory::GuestMemoryMmap;

use super::device::Activation;
use super::interrupt::VirtioInterrupt;
use super::queue::{QueueError, SplitQueue};
use super::queue_state::{QueueState, QueueStates};

/// The queues of an active driver.
pub(super) struct Queues {
    queues: Vec<Option<Queue>>,
    /// The negotiated features.
    pub features: u64,
    /// Notifies the driver.
    pub interrupt: Arc<dyn VirtioInterrupt>,
    /// The queues of one notification: the allocation is reused.
    announced: Vec<u16>,
}

struct Queue {
    ring: SplitQueue,
    /// Its chains that were admitted and not retired.
    unanswered: u16,
}

impl Queues {
    /// Checks the queues that the driver configured, each of at most `max_size` descriptors.
    ///
    /// # Errors
    ///
    /// [`QueueError::Size`] and [`QueueError::Place`].
    pub(super) fn new(
        activation: Activation,
        max_size: u16,
        memory: &Arc<GuestMemoryMmap>,
    ) -> Result<Self, QueueError> {
        let Activation {
            features,
            queues,
            interrupt,
        } = activation;
        let queue = |ready: Option<QueueState>| {
            let ring = ready.map(|ready| SplitQueue::new(ready, max_size, features, memory));
            let unanswered = 0;
            Ok(ring.transpose()?.map(|ring| Queue { ring, unanswered }))
        };
        Ok(Self {
            queues: queues
                .into_iter()
                .map(queue)
                .collect::<Result<_, QueueError>>()?,
            features,
            interrupt,
            announced: Vec::new(),
        })
    }

    /// The device's position in each queue.
    pub(super) fn states(&self) -> QueueStates {
        let state = |queue: &Option<Queue>| Some(queue.as_ref()?.ring.state());
        self.queues.iter().map(state).collect()
    }

    /// The ring of a queue that the driver has set up.
    pub(super) fn ring(&mut self, queue: usize) -> Option<&mut SplitQueue> {
        Some(&mut self.queues.get_mut(queue)?.as_mut()?.ring)
    }

    /// Counts one more unanswered chain of a queue.
    ///
    /// # Errors
    ///
    /// [`QueueError::TooMany`].
    pub(super) fn admit(&mut self, queue: usize) -> Result<(), QueueError> {
        if let Some(Some(queue)) = self.queues.get_mut(queue) {
            let limit = queue.ring.size();
            if queue.unanswered >= limit {
                return Err(QueueError::TooMany(limit));
            }
            queue.unanswered += 1;
        }
        Ok(())
    }

    /// Counts one unanswered chain of a queue less.
    pub(super) fn retire(&mut self, queue: usize) {
        if let Some(Some(queue)) = self.queues.get_mut(queue) {
            queue.unanswered = queue.unanswered.saturating_sub(1);
        }
    }

    /// Raises one interrupt for all completions since the last call, if the driver wants one for any queue.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the read.
    pub(super) fn announce(&mut self) -> Result<(), QueueError> {
        self.announced.clear();
        for (number, queue) in (0..).zip(&mut self.queues) {
            if let Some(queue) = queue
                && queue.ring.wants_interrupt()?
            {
                self.announced.push(number);
            }
        }
        if !self.announced.is_empty() {
            self.interrupt.used_buffers_in(&self.announced);
        }
        Ok(())
    }
}
