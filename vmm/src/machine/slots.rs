//! The places of the virtio devices: each has a transport, an address and an interrupt of its own.

use std::io;
use std::sync::Arc;

use faultvisor_devices::bus::{Bus, RangeError};
use faultvisor_devices::life_cycle::Placement;
use faultvisor_devices::virtio::device::VirtioDevice;
use faultvisor_devices::virtio::transport::mmio::MmioTransport;
use faultvisor_devices::virtio::transport::{IoEvent, RingFeatures, Transport};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::vm::{Kick, Line};

/// The devices' registers lie here, one after the other, in the hole below 4 GiB.
const WINDOWS: u64 = 0xd000_0000;

/// The interrupts that devices get in turn: what a PC's own devices leave free of the inputs that a
/// kernel sets up without being told. More devices share them, which edges allow.
const INTERRUPTS: [u32; 9] = [5, 6, 7, 10, 11, 12, 14, 15, 3];

/// A transport, and where it is.
pub type Slot = (Arc<dyn Transport>, Placement);

/// The virtio devices of a machine.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    next_window: u64,
}

impl Slots {
    /// Puts a device behind a transport, in the next place.
    ///
    /// # Errors
    ///
    /// When the host refuses a descriptor.
    pub(super) fn plug(
        &mut self,
        device: Arc<dyn VirtioDevice>,
        ring_features: RingFeatures,
    ) -> io::Result<Arc<dyn Transport>> {
        let line = Arc::new(EventFd::new(EFD_NONBLOCK)?);
        let transport: Arc<dyn Transport> =
            Arc::new(MmioTransport::new(device, ring_features, line));
        let start = WINDOWS + self.next_window;
        let end = start + transport.length();
        let index = self.slots.len();
        let placement = Placement {
            instance: u16::try_from(index).map_err(io::Error::other)?,
            range: start..end,
            interrupt: Some(INTERRUPTS[index % INTERRUPTS.len()]),
        };
        self.next_window = end - WINDOWS;
        self.slots.push((Arc::clone(&transport), placement));
        Ok(transport)
    }

    /// The devices in the order of their places.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Gives each device its addresses.
    ///
    /// # Errors
    ///
    /// [`RangeError`] when one of them is taken.
    pub(super) fn map(&self, mmio: &mut Bus) -> Result<(), RangeError> {
        self.slots.iter().try_for_each(|(transport, placement)| {
            mmio.insert(placement.range.start, transport.length(), transport.clone())
        })
    }

    /// What raises the devices' interrupts.
    ///
    /// # Errors
    ///
    /// When the host refuses a descriptor.
    pub(super) fn lines(&self) -> io::Result<Vec<Line>> {
        let lines = self.slots.iter().flat_map(|(transport, placement)| {
            let events = transport.interrupts().into_iter().zip(placement.interrupt);
            events.map(|(event, interrupt)| {
                let event = event.try_clone()?;
                Ok(Line { event, interrupt })
            })
        });
        lines.collect()
    }

    /// What KVM writes to when the guest notifies the devices.
    ///
    /// # Errors
    ///
    /// When the host refuses a descriptor.
    pub(super) fn kicks(&self) -> io::Result<Vec<Kick>> {
        let kicks = self.slots.iter().flat_map(|(transport, placement)| {
            let events = transport.io_events().into_iter();
            events.map(
                |IoEvent {
                     event,
                     offset,
                     value,
                 }| {
                    Ok(Kick {
                        event: event.try_clone()?,
                        address: placement.range.start + offset,
                        value,
                    })
                },
            )
        });
        kicks.collect()
    }
}
