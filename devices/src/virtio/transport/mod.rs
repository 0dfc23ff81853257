//! Virtio transports: how a driver finds a device, its registers and its interrupts (virtio 1.2 §4).

pub mod mmio;
