//! Address spaces that vCPU exits are dispatched on: port I/O and MMIO.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// A device that answers reads and writes in a range of a bus.
///
/// Several vCPUs may call it at the same time; a device locks its own state.
pub trait BusDevice: Send + Sync {
    /// Reads `data.len()` bytes (1 to 8) at `offset` from the start of the device's range.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Writes `data` (1 to 8 bytes) at `offset` from the start of the device's range.
    fn write(&self, offset: u64, data: &[u8]);
}

/// Two devices claim one address, or a range is empty or passes the end of the address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bus range {start:#x}+{length:#x} is empty, too long, or taken")]
pub struct RangeError {
    /// First address of the refused range.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

#[derive(Clone)]
struct Range {
    start: u64,
    length: u64,
    device: Arc<dyn BusDevice>,
}

/// One address space, which clones share. Devices can join it while vCPUs access others.
#[derive(Clone, Default)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Sorted by start, without overlap. Replaced as a whole.
    ranges: Mutex<Arc<Vec<Range>>>,
    /// How often they have been replaced.
    version: AtomicU64,
}

impl Bus {
    /// An address space without devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps a device at `[start, start + length)`. Every later access finds it.
    ///
    /// # Errors
    ///
    /// [`RangeError`] when the range is not free.
    pub fn insert(
        &self,
        start: u64,
        length: u64,
        device: Arc<dyn BusDevice>,
    ) -> Result<(), RangeError> {
        let refused = RangeError { start, length };
        let end = start.checked_add(length).ok_or(refused)?;
        let mut ranges = lock(&self.shared.ranges);
        let at = ranges.partition_point(|range| range.start < start);
        let before_ends = at
            .checked_sub(1)
            .map_or(0, |i| ranges[i].start + ranges[i].length);
        let after_starts = ranges.get(at).map_or(u64::MAX, |range| range.start);
        if length == 0 || before_ends > start || end > after_starts {
            return Err(refused);
        }
        let range = Range {
            start,
            length,
            device,
        };
        Arc::make_mut(&mut *ranges).insert(at, range);
        self.shared.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Access to the devices, for one vCPU.
    pub fn access(&self) -> BusAccess {
        BusAccess {
            shared: Arc::clone(&self.shared),
            version: 0,
            ranges: Arc::default(),
        }
    }
}

/// One vCPU's accesses to a bus. It caches the ranges, so that an access only checks whether they have been replaced.
pub struct BusAccess {
    shared: Arc<Shared>,
    version: u64,
    ranges: Arc<Vec<Range>>,
}

impl BusAccess {
    /// Reads from the device at `address`; without one every bit reads as one, as on an undriven PC
    /// bus.
    pub fn read(&mut self, address: u64, data: &mut [u8]) {
        match self.find(address) {
            Some((device, offset)) => device.read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes to the device at `address`; without one the write is ignored.
    pub fn write(&mut self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.find(address) {
            device.write(offset, data);
        }
    }

    fn find(&mut self, address: u64) -> Option<(&dyn BusDevice, u64)> {
        if self.shared.version.load(Ordering::Acquire) != self.version {
            let ranges = lock(&self.shared.ranges);
            self.version = self.shared.version.load(Ordering::Acquire);
            self.ranges = Arc::clone(&ranges);
        }
        let at = self.ranges.partition_point(|range| range.start <= address);
        let range = &self.ranges[at.checked_sub(1)?];
        let offset = address - range.start;
        (offset < range.length).then_some((&*range.device, offset))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::thread;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(u64, Vec<u8>)>>);

    impl BusDevice for Recorder {
        fn read(&self, offset: u64, data: &mut [u8]) {
            data.fill(u8::try_from(offset).unwrap());
        }

        fn write(&self, offset: u64, data: &[u8]) {
            self.0.lock().unwrap().push((offset, data.to_vec()));
        }
    }

    #[test]
    fn an_access_reaches_the_device_with_its_offset_and_no_other() {
        let (low, high) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
        let bus = Bus::new();
        bus.insert(0x100, 0x10, high.clone()).unwrap();
        bus.insert(0x80, 0x80, low.clone()).unwrap();
        let mut access = bus.access();
        access.write(0xff, &[1]);
        access.write(0x100, &[2, 3]);
        access.write(0x110, &[4]);
        access.write(0x7f, &[5]);
        assert_eq!(*low.0.lock().unwrap(), [(0x7f, vec![1])]);
        assert_eq!(*high.0.lock().unwrap(), [(0, vec![2, 3])]);
        let mut data = [0; 2];
        access.read(0x10f, &mut data);
        assert_eq!(data, [0xf; 2]);
    }

    #[test]
    fn an_address_without_a_device_reads_as_ones() {
        let mut data = [0; 8];
        Bus::new().access().read(u64::MAX, &mut data);
        assert_eq!(data, [0xff; 8]);
    }

    #[test]
    fn ranges_that_overlap_or_wrap_are_refused() {
        let device = Arc::new(Recorder::default());
        let bus = Bus::new();
        bus.insert(0x100, 0x10, device.clone()).unwrap();
        for (start, length) in [
            (0x100, 1),
            (0x10f, 1),
            (0xff, 2),
            (0, 0x1000),
            (0x200, 0),
            (u64::MAX, 2),
        ] {
            let refused = bus.insert(start, length, device.clone());
            assert_eq!(refused, Err(RangeError { start, length }));
        }
        bus.insert(0x110, 1, device.clone()).unwrap();
        bus.insert(0xff, 1, device).unwrap();
    }

    /// A device whose read returns once another device has joined the bus.
    struct Waits(Mutex<Receiver<()>>, Sender<()>);

    impl BusDevice for Waits {
        fn read(&self, _: u64, data: &mut [u8]) {
            self.1.send(()).unwrap();
            self.0.lock().unwrap().recv().unwrap();
            data.fill(1);
        }

        fn write(&self, _: u64, _: &[u8]) {}
    }

    #[test]
    fn a_device_joins_the_bus_during_an_access_to_another() {
        let bus = Bus::new();
        let (joined, has_joined) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        let waits = Waits(Mutex::new(has_joined), begun);
        bus.insert(0x100, 1, Arc::new(waits)).unwrap();
        let mut access = bus.access();
        let vcpu = thread::spawn(move || {
            let mut data = [0xff; 2];
            access.read(0x100, &mut data[..1]);
            access.read(0x200, &mut data[1..]);
            data
        });
        has_begun.recv().unwrap();
        bus.insert(0x200, 1, Arc::new(Recorder::default())).unwrap();
        joined.send(()).unwrap();
        assert_eq!(vcpu.join().unwrap(), [1, 0]);
    }
}
