//! Address spaces that vCPU exits are dispatched on: port I/O and MMIO.

use std::sync::Arc;

/// A device that answers reads and writes in a range of a bus.
///
/// Several vCPUs may call it at the same time; what needs a lock has one inside.
pub trait BusDevice: Send + Sync {
    /// Reads `data.len()` bytes (1 to 8) at `offset` from the start of the device's range.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Writes `data` (1 to 8 bytes) at `offset` from the start of the device's range.
    fn write(&self, offset: u64, data: &[u8]);

    /// Puts every register back to its state after power-on. No vCPU accesses the device meanwhile, and what a virtio
    /// device has in flight has ended.
    fn reset(&self) {}
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

struct Range {
    start: u64,
    length: u64,
    device: Arc<dyn BusDevice>,
}

/// One address space. Built before the vCPUs start and not changed after.
#[derive(Default)]
pub struct Bus {
    /// Sorted by start, without overlap.
    ranges: Vec<Range>,
}

impl Bus {
    /// An address space without devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `[start, start + length)` to a device.
    ///
    /// # Errors
    ///
    /// [`RangeError`] when the range is not free.
    pub fn insert(
        &mut self,
        start: u64,
        length: u64,
        device: Arc<dyn BusDevice>,
    ) -> Result<(), RangeError> {
        let refused = RangeError { start, length };
        let end = start.checked_add(length).ok_or(refused)?;
        let at = self.ranges.partition_point(|range| range.start < start);
        let before_ends = at
            .checked_sub(1)
            .map_or(0, |i| self.ranges[i].start + self.ranges[i].length);
        let after_starts = self.ranges.get(at).map_or(u64::MAX, |range| range.start);
        if length == 0 || before_ends > start || end > after_starts {
            return Err(refused);
        }
        self.ranges.insert(
            at,
            Range {
                start,
                length,
                device,
            },
        );
        Ok(())
    }

    /// Reads from whatever is at `address`; where nothing is, every bit reads as one, as on a PC
    /// bus that nobody drives.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address) {
            Some((device, offset)) => device.read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes to whatever is at `address`; where nothing is, the write goes nowhere.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.find(address) {
            device.write(offset, data);
        }
    }

    /// Resets every device of the bus.
    pub fn reset(&self) {
        for range in &self.ranges {
            range.device.reset();
        }
    }

    fn find(&self, address: u64) -> Option<(&dyn BusDevice, u64)> {
        let at = self.ranges.partition_point(|range| range.start <= address);
        let range = &self.ranges[at.checked_sub(1)?];
        let offset = address - range.start;
        (offset < range.length).then_some((&*range.device, offset))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(u64, Vec<u8>)>>);

    const RESET: (u64, Vec<u8>) = (u64::MAX, Vec::new());

    impl BusDevice for Recorder {
        fn read(&self, offset: u64, data: &mut [u8]) {
            data.fill(u8::try_from(offset).unwrap());
        }

        fn write(&self, offset: u64, data: &[u8]) {
            self.0.lock().unwrap().push((offset, data.to_vec()));
        }

        fn reset(&self) {
            self.0.lock().unwrap().push(RESET);
        }
    }

    #[test]
    fn a_reset_of_the_bus_reaches_every_device_once() {
        let devices = [0x100, 0x80, 0x200].map(|start| (start, Arc::new(Recorder::default())));
        let mut bus = Bus::new();
        for (start, device) in &devices {
            bus.insert(*start, 0x10, device.clone()).unwrap();
        }
        bus.reset();
        for (_, device) in devices {
            assert_eq!(*device.0.lock().unwrap(), [RESET]);
        }
    }

    #[test]
    fn an_access_reaches_the_device_with_its_offset_and_no_other() {
        let (low, high) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
        let mut bus = Bus::new();
        bus.insert(0x100, 0x10, high.clone()).unwrap();
        bus.insert(0x80, 0x80, low.clone()).unwrap();
        bus.write(0xff, &[1]);
        bus.write(0x100, &[2, 3]);
        bus.write(0x110, &[4]);
        bus.write(0x7f, &[5]);
        assert_eq!(*low.0.lock().unwrap(), [(0x7f, vec![1])]);
        assert_eq!(*high.0.lock().unwrap(), [(0, vec![2, 3])]);
        let mut data = [0; 2];
        bus.read(0x10f, &mut data);
        assert_eq!(data, [0xf; 2]);
    }

    #[test]
    fn an_address_without_a_device_reads_as_ones() {
        let mut data = [0; 8];
        Bus::new().read(u64::MAX, &mut data);
        assert_eq!(data, [0xff; 8]);
    }

    #[test]
    fn ranges_that_overlap_or_wrap_are_refused() {
        let device = Arc::new(Recorder::default());
        let mut bus = Bus::new();
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
}
