//! The machine's devices: their bus addresses, their interrupts, and the list of parts that every life cycle step
//! visits.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use faultvisor_devices::bus::{BusDevice, RangeError};
use faultvisor_devices::life_cycle::{Done, LifeCycle, Placement, Run};
use faultvisor_devices::virtio::device::VirtioDevice;
use faultvisor_devices::virtio::transport::mmio::MmioTransport;
use faultvisor_devices::virtio::transport::{RingFeatures, Transport};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::address_map;
use crate::inbox::{Notice, Sender, SharedPromise};
use crate::vcpu::Buses;

/// An eventfd that raises an interrupt when it is written to.
#[derive(Debug)]
pub struct Line {
    /// Written to by the device.
    pub event: EventFd,
    /// The interrupt controllers' input.
    pub interrupt: u32,
}

/// An eventfd that KVM writes to when the guest kicks a queue of a virtio device.
#[derive(Debug)]
pub struct Kick {
    /// Read by the device.
    pub event: EventFd,
    /// Where the guest writes.
    pub address: u64,
    /// The value it writes: the queue's number.
    pub value: u32,
}

/// The devices, which outlive resets. A device can be added at any time: vCPUs access it at once, and
/// [`Wiring::connect`](crate::vm::Wiring::connect) connects its interrupts and kicks to the virtual machine that runs.
#[derive(Default)]
pub struct DeviceManager {
    buses: Buses,
    parts: Vec<(Arc<dyn LifeCycle>, Placement)>,
    transports: Vec<(Arc<dyn Transport>, Placement)>,
    lines: Vec<Line>,
    kicks: Vec<Kick>,
    /// Bytes of [`address_map::VIRTIO`] that are taken.
    windows: u64,
}

impl DeviceManager {
    /// Adds a device with ports, and its interrupt if it has one.
    ///
    /// # Errors
    ///
    /// [`RangeError`] when another device has one of the ports.
    pub fn add_ports<D: BusDevice + LifeCycle + 'static>(
        &mut self,
        ports: Range<u64>,
        line: Option<Line>,
        device: Arc<D>,
    ) -> Result<(), RangeError> {
        let length = ports.end.saturating_sub(ports.start);
        self.buses.pio.insert(ports.start, length, device.clone())?;
        self.push(ports, line, device);
        Ok(())
    }

    /// Adds a part without registers, and its interrupt if it has one.
    pub fn add_part(&mut self, line: Option<Line>, part: Arc<dyn LifeCycle>) {
        self.push(0..0, line, part);
    }

    fn push(&mut self, range: Range<u64>, line: Option<Line>, part: Arc<dyn LifeCycle>) {
        let placement = Placement {
            instance: 0,
            range,
            interrupt: line.as_ref().map(|line| line.interrupt),
        };
        self.lines.extend(line);
        self.parts.push((part, placement));
    }

    /// Adds a virtio device behind a transport, in the next window.
    ///
    /// # Errors
    ///
    /// When the host refuses a descriptor, or there is no window left.
    pub fn add_virtio(
        &mut self,
        device: Arc<dyn VirtioDevice>,
        ring_features: RingFeatures,
    ) -> io::Result<()> {
        let line = Arc::new(EventFd::new(EFD_NONBLOCK)?);
        let transport = Arc::new(MmioTransport::new(device, ring_features, line));
        let start = address_map::VIRTIO + self.windows;
        let end = start + transport.length();
        if end > address_map::VIRTIO_END {
            return Err(io::Error::other("no addresses are left for its registers"));
        }
        let interrupts = address_map::VIRTIO_INTERRUPTS;
        let index = self.transports.len();
        let placement = Placement {
            instance: u16::try_from(index).map_err(io::Error::other)?,
            range: start..end,
            interrupt: Some(interrupts[index % interrupts.len()]),
        };
        let (lines, kicks) = wiring(&*transport, &placement)?;
        self.buses
            .mmio
            .insert(start, end - start, transport.clone())
            .map_err(io::Error::other)?;
        self.windows = end - address_map::VIRTIO;
        self.lines.extend(lines);
        self.kicks.extend(kicks);
        self.parts.push((transport.clone(), placement.clone()));
        self.transports.push((transport, placement));
        Ok(())
    }

    /// The buses that vCPU exits are dispatched on.
    pub fn buses(&self) -> &Buses {
        &self.buses
    }

    /// The interrupt lines that a virtual machine is connected to.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The kicks that a virtual machine is connected to.
    pub fn kicks(&self) -> &[Kick] {
        &self.kicks
    }

    /// Pauses every part. The promise is kept when no request is in flight.
    pub fn pause(&self, drained: &SharedPromise) {
        self.each(drained, |part, done| part.pause(done));
    }

    /// Resumes every part, in this run.
    pub fn resume(&self, run: Run) {
        for (part, _) in &self.parts {
            part.resume(run);
        }
    }

    /// Resets every part. The promise is kept when all have their power-on state.
    pub fn reset(&self, is_reset: &SharedPromise) {
        self.each(is_reset, |part, done| part.reset(done));
    }

    /// Closes every part, and returns the number of [`Notice::PartClosed`] notices to expect.
    pub fn close(&self, inbox: &Sender) -> usize {
        for (part, _) in &self.parts {
            let closed = inbox.promise(Notice::PartClosed);
            part.close(Box::new(|| closed.keep()));
        }
        self.parts.len()
    }

    fn each(&self, promise: &SharedPromise, ask: impl Fn(&dyn LifeCycle, Done)) {
        for (part, _) in &self.parts {
            ask(&**part, promise.share());
        }
    }

    /// Discards interrupt pulses that no virtual machine has consumed.
    pub fn clear_interrupts(&self) {
        for line in &self.lines {
            let _ = line.event.read();
        }
    }

    /// How many virtio devices there are.
    pub fn virtio_count(&self) -> usize {
        self.transports.len()
    }

    /// The parts' terms of the DSDT.
    pub fn dsdt(&self) -> Vec<u8> {
        let mut terms = Vec::new();
        for (part, placement) in &self.parts {
            part.describe(placement, &mut terms);
        }
        terms
    }

    /// The kernel parameters of a guest that reads no ACPI tables.
    pub fn kernel_parameters(&self) -> impl Iterator<Item = String> {
        self.transports
            .iter()
            .filter_map(|(transport, placement)| transport.kernel_parameter(placement))
    }
}

/// The interrupt lines and kicks of a transport.
fn wiring(transport: &dyn Transport, placement: &Placement) -> io::Result<(Vec<Line>, Vec<Kick>)> {
    let events = transport.interrupts().into_iter().zip(placement.interrupt);
    let lines = events.map(|(event, interrupt)| {
        let event = event.try_clone()?;
        Ok(Line { event, interrupt })
    });
    let kicks = transport.io_events().into_iter().map(|io_event| {
        Ok(Kick {
            event: io_event.event.try_clone()?,
            address: placement.range.start + io_event.offset,
            value: io_event.value,
        })
    });
    Ok((
        lines.collect::<io::Result<_>>()?,
        kicks.collect::<io::Result<_>>()?,
    ))
}

/// A virtio device for tests of its surroundings.
#[cfg(test)]
pub(crate) mod testing {
    use faultvisor_devices::life_cycle::{Done, RestoreError, Run, SaveError, State};
    use faultvisor_devices::virtio::device::{Activation, Asleep, VirtioDevice};
    use faultvisor_devices::virtio::queue_state::QueueStates;
    use vmm_sys_util::eventfd::EventFd;

    /// A device without queues.
    pub(crate) struct NoDevice;

    impl VirtioDevice for NoDevice {
        fn device_id(&self) -> u32 {
            0
        }
        fn features(&self) -> u64 {
            0
        }
        fn queue_sizes(&self) -> &[u16] {
            &[]
        }
        fn kick_events(&self) -> &[EventFd] {
            &[]
        }
        fn read_config(&self, _: u64, _: &mut [u8]) {}
        fn write_config(&self, _: u64, _: u64, _: &[u8]) {}
        fn config_generation(&self) -> u32 {
            0
        }
        fn activate(&self, _: Activation) {}
        fn reset(&self, _: Done) {}
        fn sleep(&self, _: Asleep) {}
        fn wake(&self, _: Run) {}
        fn close(&self, _: Done) {}
        fn save(&self) -> Result<State, SaveError> {
            Err(SaveError::Ended)
        }
        fn restore(&self, _: &State, _: &QueueStates) -> Result<(), RestoreError> {
            Err(RestoreError::Ended)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use faultvisor_devices::legacy::Cmos;
    use faultvisor_devices::life_cycle::{RestoreError, SaveError, State, Stateless};

    use super::testing::NoDevice;
    use super::*;
    use crate::inbox::Inbox;
    use crate::machine::Phase;

    /// Keeps the promises that it is given.
    #[derive(Default)]
    struct Slow(Mutex<Vec<Done>>);

    impl LifeCycle for Slow {
        fn pause(&self, done: Done) {
            self.0.lock().unwrap().push(done);
        }

        fn reset(&self, done: Done) {
            self.0.lock().unwrap().push(done);
        }

        fn save(&self) -> Result<State, SaveError> {
            State::of(&Stateless {})
        }

        fn restore(&self, _: &State) -> Result<(), RestoreError> {
            Ok(())
        }
    }

    #[test]
    fn a_step_reaches_every_part_once_and_ends_with_the_last() {
        let (inbox, sender) = Inbox::new().unwrap();
        let mut devices = DeviceManager::default();
        let parts = [0, 1].map(|_| Arc::new(Slow::default()));
        for part in &parts {
            devices.add_part(None, part.clone());
        }
        for step in [DeviceManager::pause, DeviceManager::reset] {
            step(
                &devices,
                &sender.promise(Notice::PhaseEnded(Phase(1))).shared(),
            );
            for part in &parts {
                assert!(inbox.next().is_none());
                let asked = std::mem::take(&mut *part.0.lock().unwrap());
                assert_eq!(asked.len(), 1);
                asked.into_iter().for_each(|done| done());
            }
            assert!(matches!(inbox.next(), Some(Notice::PhaseEnded(Phase(1)))));
        }
    }

    #[test]
    fn a_virtio_device_that_joins_later_is_found_by_vcpus() {
        let mut devices = DeviceManager::default();
        // Like that of a running vCPU.
        let mut access = devices.buses().mmio.access();
        let mut magic = |address| {
            let mut magic = [0; 4];
            access.read(address, &mut magic);
            magic
        };
        assert_eq!(magic(address_map::VIRTIO), [0xff; 4]);
        for index in 0..10 {
            let device = Arc::new(NoDevice);
            devices.add_virtio(device, RingFeatures::default()).unwrap();
            let start = address_map::VIRTIO + index * 0x1000;
            assert_eq!(magic(start), *b"virt");
            assert_eq!(magic(start + 0x1000), [0xff; 4]);
        }
        let interrupts: Vec<u32> = devices.lines().iter().map(|line| line.interrupt).collect();
        assert_eq!(interrupts, [5, 6, 7, 10, 11, 12, 14, 15, 3, 5]);
        let words: Vec<String> = devices.kernel_parameters().collect();
        assert_eq!(words[1], "virtio_mmio.device=4K@0xd0001000:6");
    }

    #[test]
    fn two_devices_in_one_place_are_refused() {
        let mut devices = DeviceManager::default();
        let ports = || address_map::CMOS..address_map::CMOS + Cmos::PORTS;
        let cmos = || Arc::new(Cmos::new());
        devices.add_ports(ports(), None, cmos()).unwrap();
        assert!(devices.add_ports(ports(), None, cmos()).is_err());
    }
}
