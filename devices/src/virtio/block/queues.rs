//! The queues of an active driver, and the completion of its requests.

use std::sync::Arc;

use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

use super::DiskConfiguration;
use super::request::{Answer, RequestError, Status};
use crate::virtio::device::Activation;
use crate::virtio::interrupt::VirtioInterrupt;
use crate::virtio::queue::{QueueError, SplitQueue};
use crate::virtio::queue_state::{QueueState, QueueStates};

/// Why the driver's queues cannot be served any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("more than {0} requests at once, with a chain made available twice")]
    TooMany(u16),
    #[error("a status address that was guest memory is not")]
    Answer,
}

/// The queues of an active driver.
pub(super) struct Queues {
    queues: Vec<Option<Queue>>,
    memory: Arc<GuestMemoryMmap>,
    pub features: u64,
    pub interrupt: Arc<dyn VirtioInterrupt>,
    /// The queues of one notification: the allocation is reused.
    announced: Vec<u16>,
}

struct Queue {
    ring: SplitQueue,
    /// Its unanswered requests.
    unanswered: u16,
}

impl Queues {
    /// Checks the queues that the driver configured.
    pub(super) fn new(
        activation: Activation,
        configuration: &DiskConfiguration,
        memory: &Arc<GuestMemoryMmap>,
    ) -> Result<Self, QueueError> {
        let Activation {
            features,
            queues,
            interrupt,
        } = activation;
        let queue = |ready: Option<QueueState>| {
            let size = configuration.queue_size;
            let ring = ready.map(|ready| SplitQueue::new(ready, size, features, memory));
            let unanswered = 0;
            Ok(ring.transpose()?.map(|ring| Queue { ring, unanswered }))
        };
        Ok(Self {
            queues: queues
                .into_iter()
                .map(queue)
                .collect::<Result<_, QueueError>>()?,
            memory: memory.clone(),
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

    /// Counts one more unanswered request of a queue.
    pub(super) fn admit(&mut self, queue: usize) -> Result<(), Broken> {
        if let Some(Some(queue)) = self.queues.get_mut(queue) {
            let limit = queue.ring.size();
            if queue.unanswered >= limit {
                return Err(Broken::TooMany(limit));
            }
            queue.unanswered += 1;
        }
        Ok(())
    }

    /// Answers a request that was admitted.
    pub(super) fn end(&mut self, answer: Answer, status: Status) -> Result<(), Broken> {
        if let Some(Some(queue)) = self.queues.get_mut(answer.queue) {
            queue.unanswered = queue.unanswered.saturating_sub(1);
        }
        self.answer(answer, status)
    }

    /// Writes a status and puts the chain into its used ring.
    pub(super) fn answer(&mut self, answer: Answer, status: Status) -> Result<(), Broken> {
        let place = self.memory.get_slice(answer.status, 1);
        let place = place.map_err(|_| Broken::Answer)?;
        place.copy_from(&[status.byte()]);
        if let Some(ring) = self.ring(answer.queue) {
            ring.complete(answer.head, answer.data_length.saturating_add(1))?;
        }
        Ok(())
    }

    /// Raises one interrupt for all answers since the last call, if the driver wants one for any
    /// queue.
    pub(super) fn announce(&mut self) -> Result<(), Broken> {
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
