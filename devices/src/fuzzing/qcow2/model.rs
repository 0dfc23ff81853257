//! The contents of a disk, and its possible contents after a crash.

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{Examination, SECTOR, Stamp};
use crate::block::engine::thread_pool::Medium;
use crate::block::format::qcow2::disk::Qcow2Image;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::model::segment::Segment;

/// A guest's request, or a resize by the host. Offsets are in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Read(usize, usize),
    Write(usize, usize, Durability),
    Discard(usize, usize),
    Zero(usize, usize, Zeroing),
    Flush,
    /// The new size in sectors.
    Resize(usize),
}

impl Ask {
    /// The first sector behind it.
    pub fn end(self) -> usize {
        match self {
            Self::Read(start, count)
            | Self::Write(start, count, _)
            | Self::Discard(start, count)
            | Self::Zero(start, count, _) => start + count,
            Self::Flush | Self::Resize(_) => 0,
        }
    }
}

/// The stamp that the request with this number writes to a sector.
pub fn written(number: usize, sector: usize) -> Stamp {
    ((number as u64 + 1) << 32) | (sector as u64 + 1)
}

/// The possible stamps of one sector.
#[derive(Debug, Clone, Default)]
struct Sector {
    /// After a crash: the last stamp known to be on the medium, and all later ones.
    possible: Vec<Stamp>,
    /// Without a crash.
    now: Vec<Stamp>,
}

impl Sector {
    fn of(stamp: Stamp) -> Self {
        Self {
            possible: vec![stamp],
            now: vec![stamp],
        }
    }

    fn settle(&mut self) {
        self.possible.clone_from(&self.now);
    }
}

fn add(stamps: &mut Vec<Stamp>, stamp: Stamp) {
    if !stamps.contains(&stamp) {
        stamps.push(stamp);
    }
}

/// The possible contents of a disk and its snapshots.
#[derive(Debug, Clone)]
pub struct Model {
    sectors: Vec<Sector>,
    /// Its possible sizes, in sectors; the last is the current one.
    sizes: Vec<usize>,
    snapshots: Vec<Vec<Stamp>>,
    backing: Vec<Stamp>,
}

impl Model {
    /// The contents of an unused image, on a backing file with these stamps.
    pub fn new(file: &[u8], backing: Vec<Stamp>) -> Self {
        let image = Examination::new(file).unwrap();
        let snapshots = image.snapshots.iter();
        let snapshots = snapshots.map(|level| image.content(*level, &backing));
        let active = image.content(image.active, &backing);
        Self {
            sizes: vec![active.len()],
            sectors: active.into_iter().map(Sector::of).collect(),
            snapshots: snapshots.collect(),
            backing,
        }
    }

    /// The possible stamps of a sector now.
    pub fn now(&self, sector: usize) -> &[Stamp] {
        &self.sectors[sector].now
    }

    /// Whether it has internal snapshots, which prevent shrinking.
    pub fn has_snapshots(&self) -> bool {
        !self.snapshots.is_empty()
    }

    /// A request was submitted.
    pub fn began(&mut self, number: usize, ask: Ask) {
        match ask {
            Ask::Write(start, count, _) => {
                for sector in start..start + count {
                    add(&mut self.sectors[sector].possible, written(number, sector));
                }
            }
            Ask::Discard(start, count) | Ask::Zero(start, count, _) => {
                for sector in &mut self.sectors[start..start + count] {
                    add(&mut sector.possible, 0);
                }
            }
            Ask::Read(..) | Ask::Flush => {}
            Ask::Resize(size) => {
                // A shrink proceeds in steps, and may expose the backing file until its end.
                for (place, sector) in self.sectors.iter_mut().enumerate().skip(size) {
                    add(&mut sector.possible, 0);
                    add(
                        &mut sector.possible,
                        self.backing.get(place).copied().unwrap_or(0),
                    );
                }
                if size > self.sectors.len() {
                    self.sectors.resize(size, Sector::of(0));
                }
                self.sizes.push(size);
            }
        }
    }

    /// It succeeded.
    pub fn ended(&mut self, number: usize, ask: Ask) {
        match ask {
            Ask::Write(start, count, durability) => {
                for sector in start..start + count {
                    self.sectors[sector].now = vec![written(number, sector)];
                    if durability == Durability::Durable {
                        self.sectors[sector].settle();
                    }
                }
            }
            Ask::Discard(start, count) => {
                for sector in &mut self.sectors[start..start + count] {
                    add(&mut sector.now, 0);
                }
            }
            Ask::Zero(start, count, _) => {
                for sector in &mut self.sectors[start..start + count] {
                    sector.now = vec![0];
                }
            }
            Ask::Read(..) => {}
            Ask::Flush => self.sectors.iter_mut().for_each(Sector::settle),
            // Truncated data never reappears.
            Ask::Resize(size) => {
                self.sizes = vec![size];
                for sector in self.sectors.iter_mut().skip(size) {
                    *sector = Sector::of(0);
                }
            }
        }
    }

    /// A crash: every possible content may be found.
    pub fn crashed(&mut self) {
        for sector in &mut self.sectors {
            sector.now.clone_from(&sector.possible);
        }
    }

    /// It was refused.
    pub fn refused(&mut self, ask: Ask) {
        if let Ask::Resize(_) = ask {
            self.sizes.pop();
        }
    }

    /// Checks that an image's file has possible contents, and no errors but leaked clusters.
    ///
    /// # Errors
    ///
    /// A description of the error.
    pub fn check(&self, file: &[u8]) -> Result<(), String> {
        let image = Examination::new(file)?;
        let verdict = image.verdict();
        if let Some(error) = verdict.errors.first() {
            return Err(format!("{error}, and {} more", verdict.errors.len() - 1));
        }
        let size = usize::try_from(image.active.size).unwrap() / SECTOR;
        if !self.sizes.contains(&size) {
            return Err(format!("{size} sectors, not one of {:?}", self.sizes));
        }
        self.check_snapshots(&image)?;
        let active = image.content(image.active, &self.backing);
        for (place, (found, expected)) in active.iter().zip(&self.sectors).enumerate() {
            if !expected.possible.contains(found) {
                let possible = &expected.possible;
                return Err(format!(
                    "sector {place} is {found:#x}, not one of {possible:#x?}"
                ));
            }
        }
        Ok(())
    }

    fn check_snapshots(&self, image: &Examination<'_>) -> Result<(), String> {
        if image.snapshots.len() != self.snapshots.len() {
            return Err(format!("{} snapshots", image.snapshots.len()));
        }
        for (number, (level, expected)) in image.snapshots.iter().zip(&self.snapshots).enumerate() {
            // A snapshot without a size has the disk's, which may change.
            let found = image.content(*level, &self.backing);
            if let Some(place) = found.iter().zip(expected).position(|(f, e)| f != e) {
                return Err(format!("snapshot {number} has changed in sector {place}"));
            }
        }
        Ok(())
    }
}

/// Performs the request with this number, and appends the stamps that it reads to `read`.
///
/// # Errors
///
/// The image's errno.
pub fn perform(
    image: &Qcow2Image,
    number: usize,
    ask: Ask,
    read: &mut Vec<u8>,
) -> Result<(), Errno> {
    let bytes = |sectors: usize| (sectors * SECTOR) as u64;
    let range = |start, count| {
        let (offset, length) = (bytes(start), bytes(count));
        vec![Range { offset, length }]
    };
    let mut data = Vec::new();
    let operation = match ask {
        Ask::Resize(sectors) => return image.resize(bytes(sectors)),
        Ask::Flush => Operation::Flush,
        Ask::Read(start, count) => {
            data.resize(count * SECTOR, 0xee);
            Operation::Read {
                offset: bytes(start),
            }
        }
        Ask::Discard(start, count) => Operation::Discard {
            ranges: range(start, count),
        },
        Ask::Zero(start, count, zeroing) => Operation::WriteZeroes {
            ranges: range(start, count),
            zeroing,
            durability: Durability::Cached,
        },
        Ask::Write(start, count, durability) => {
            let stamps = (start..start + count).map(|sector| written(number, sector));
            data.extend(stamps.flat_map(|stamp| stamp.to_le_bytes().repeat(SECTOR / 8)));
            Operation::Write {
                offset: bytes(start),
                durability,
            }
        }
    };
    let address = GuestAddress(0);
    let length = data.len().max(SECTOR);
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&[(address, length)]).unwrap());
    memory.write_slice(&data, address).unwrap();
    let length = u32::try_from(data.len()).unwrap();
    let segments = (length > 0).then_some(Segment { address, length });
    let buffers = IoBuffers::new(&memory, segments).unwrap();
    image.execute(HostRequest { operation, buffers })?;
    if let Ask::Read(..) = ask {
        memory.read_slice(&mut data, address).unwrap();
        read.append(&mut data);
    }
    Ok(())
}
