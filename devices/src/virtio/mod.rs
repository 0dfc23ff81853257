//! Virtio 1.2: the split virtqueue, the transports, and the devices.

pub mod block;
pub mod chain;
mod complaints;
pub mod device;
mod device_thread;
pub mod interrupt;
mod mailbox;
mod mapped_range;
pub mod queue;
pub mod queue_state;
mod queues;
pub mod rng;
pub mod transport;
pub mod vsock;
