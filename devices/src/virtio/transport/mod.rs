//! Virtio transports: discovery, negotiation and interrupts (virtio 1.2 §4).

pub mod mmio;

use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
};
use vmm_sys_util::eventfd::EventFd;

use crate::bus::BusDevice;
use crate::life_cycle::{LifeCycle, Placement};

/// Bits of the device status (virtio 1.2 §2.1).
pub mod status {
    /// The guest has noticed the device.
    pub const ACKNOWLEDGE: u32 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u32 = 2;
    /// The driver is set up.
    pub const DRIVER_OK: u32 = 4;
    /// Feature negotiation is complete.
    pub const FEATURES_OK: u32 = 8;
    /// The device has met an error that it cannot recover from.
    pub const DEVICE_NEEDS_RESET: u32 = 64;
    /// The driver has given up on the device.
    pub const FAILED: u32 = 128;
}

/// The ring features that the transport offers (virtio 1.2 §6), always including VERSION_1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFeatures(u64);

impl Default for RingFeatures {
    /// All that the split virtqueue implements: indirect descriptors and event indices.
    fn default() -> Self {
        let bits = [
            VIRTIO_F_VERSION_1,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_RING_F_EVENT_IDX,
        ];
        Self(bits.iter().fold(0, |features, bit| features | 1 << bit))
    }
}

impl RingFeatures {
    /// VIRTIO_F_INDIRECT_DESC is not offered.
    #[must_use]
    pub fn without_indirect_descriptors(self) -> Self {
        Self(self.0 & !(1 << VIRTIO_RING_F_INDIRECT_DESC))
    }

    /// VIRTIO_F_EVENT_IDX is not offered.
    #[must_use]
    pub fn without_event_index(self) -> Self {
        Self(self.0 & !(1 << VIRTIO_RING_F_EVENT_IDX))
    }

    /// The feature bits.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// A write of the guest that signals an eventfd instead of leaving the guest (KVM API §4.59, `KVM_IOEVENTFD`).
#[derive(Debug)]
pub struct IoEvent<'a> {
    /// Read by the device.
    pub event: &'a EventFd,
    /// Where the guest writes, in bytes from the start of the transport's registers.
    pub offset: u64,
    /// What it writes there, in 32 bits.
    pub value: u32,
}

/// The registers in front of a virtio device, and what connects them to the machine.
pub trait Transport: BusDevice + LifeCycle {
    /// The length of its registers in bytes.
    fn length(&self) -> u64;

    /// The guest's writes that KVM turns into eventfd signals.
    fn io_events(&self) -> Vec<IoEvent<'_>>;

    /// The eventfds that raise its interrupts, one edge for each write (KVM API §4.75,
    /// `KVM_IRQFD`).
    fn interrupts(&self) -> Vec<&EventFd>;

    /// The kernel parameter for a guest that reads no firmware tables, if the transport has one.
    fn kernel_parameter(&self, placement: &Placement) -> Option<String>;
}
