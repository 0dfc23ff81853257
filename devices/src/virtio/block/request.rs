//! Parses a descriptor chain into a request, or into the status for its defect
//! (virtio 1.2 §5.2.6).

use serde::{Deserialize, Serialize};
use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
    VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, Le32, Le64, VolatileMemory,
};

use super::ranges::{self, Listed};
use super::space::{MAX_SEGMENTS, SIZE_MAX};
use crate::block::model::access::Access;
use crate::block::model::request::{
    Durability, Operation, Range, RangeLimits, Request, SECTOR_SIZE, Zeroing,
};
use crate::block::model::segment::{Segment, Segments, address, length};
use crate::block::policy::statistics::Kind;
use crate::virtio::chain::Chain;
use crate::virtio::queue::QueueError;
use crate::virtio::queues::Queues;

/// Maximum bytes of a request within SIZE_MAX and SEG_MAX. A longer one refers to the same memory
/// many times, and would delay a drain.
pub(super) const MAX_LENGTH: u64 = SIZE_MAX as u64 * MAX_SEGMENTS as u64;

/// Length of a request's header: type, a reserved word, sector.
const HEADER_LENGTH: u32 = 16;

/// The byte that ends every request (virtio 1.2 §5.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Not done, or only in part.
    IoError,
    /// The device does not know the request.
    Unsupported,
}

impl Status {
    /// Its value in guest memory.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::IoError => 1,
            Self::Unsupported => 2,
        }
    }
}

/// A chain without a place for a status. The device needs a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Fewer device-readable bytes than a header has.
    #[error("a request without a whole header")]
    Header,
    /// The header is not in guest memory.
    #[error("a request header outside guest memory")]
    HeaderOutsideMemory,
    /// No device-writable byte for the status, or one outside guest memory.
    #[error("a request without a place for its status")]
    Status,
}

/// Why the driver's queues cannot be served any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("a status address that was guest memory is not")]
    Answer,
}

/// The destination of a request's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The queue that the chain came from.
    pub queue: usize,
    /// The chain's ID in the used ring.
    pub head: u16,
    /// Guest address of the status byte.
    #[serde(with = "address")]
    pub status: GuestAddress,
    /// Device-writable bytes before the status byte that the device fills.
    pub data_length: u32,
}

impl Answer {
    /// Whether the status byte is in guest memory.
    pub(super) fn is_in(&self, memory: &GuestMemoryMmap) -> bool {
        memory.check_address(self.status).is_some()
    }

    /// Writes a status, and puts the chain into its used ring.
    ///
    /// # Errors
    ///
    /// [`Broken::Answer`], and [`QueueError`] when guest memory refuses the access to the ring.
    pub(super) fn complete(
        self,
        queues: &mut Queues,
        memory: &GuestMemoryMmap,
        status: Status,
    ) -> Result<(), Broken> {
        let place = memory.get_slice(self.status, 1);
        let place = place.map_err(|_| Broken::Answer)?;
        place.copy_from(&[status.byte()]);
        if let Some(ring) = queues.ring(self.queue) {
            ring.complete(self.head, self.data_length.saturating_add(1))?;
        }
        Ok(())
    }
}

/// The result of parsing a chain.
#[derive(Debug)]
pub enum Parsed {
    /// To be submitted.
    Submit(Request, Answer),
    /// To be answered at once.
    Done(Status, Answer),
    /// To be answered with an error: invalid for this disk.
    Invalid(Kind, Answer),
}

/// The disk's properties that parsing needs.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    /// Sectors of the disk.
    pub sectors: u64,
    /// Whether the guest may write.
    pub access: Access,
    /// When a write completes: a driver without flush gets durable writes.
    pub durability: Durability,
    /// The device ID string that GET_ID returns.
    pub serial: &'a str,
    /// Limits of a discard, if the driver may send one.
    pub discard: Option<RangeLimits>,
    /// Limits of a write-zeroes request, if the driver may send one.
    pub write_zeroes: Option<RangeLimits>,
    /// Whether zeroing may deallocate.
    pub unmaps: bool,
}

/// Parses a chain as a virtio-blk request, and strips header and status.
///
/// # Errors
///
/// [`RequestError`] when the chain has no room for a header or a status.
pub fn parse(
    memory: &GuestMemoryMmap,
    queue: usize,
    chain: &mut Chain,
    disk: RequestContext<'_>,
) -> Result<Parsed, RequestError> {
    let header = take_header(memory, &mut chain.readable)?;
    let status = take_status(memory, &mut chain.writable)?;
    let Chain {
        head,
        readable,
        writable,
    } = &*chain;
    let answer = Answer {
        queue,
        head: *head,
        status,
        data_length: 0,
    };
    let done = |status| Ok(Parsed::Done(status, answer));
    let Header { kind, sector } = header;
    match kind {
        VIRTIO_BLK_T_IN => {
            if length(readable) > 0 {
                return Ok(Parsed::Invalid(Kind::Read, answer));
            }
            let operation = |offset| Operation::Read { offset };
            transfer(memory, disk, sector, writable, operation, answer)
        }
        VIRTIO_BLK_T_OUT => {
            if length(writable) > 0 || disk.access == Access::ReadOnly {
                return Ok(Parsed::Invalid(Kind::Write, answer));
            }
            let durability = disk.durability;
            let operation = |offset| Operation::Write { offset, durability };
            transfer(memory, disk, sector, readable, operation, answer)
        }
        VIRTIO_BLK_T_FLUSH => Ok(without_data(Operation::Flush, answer)),
        VIRTIO_BLK_T_GET_ID => Ok(match write_serial(memory, writable, disk.serial) {
            Some(data_length) => Parsed::Done(
                Status::Ok,
                Answer {
                    data_length,
                    ..answer
                },
            ),
            None => Parsed::Done(Status::IoError, answer),
        }),
        VIRTIO_BLK_T_DISCARD if let Some(limits) = disk.discard => {
            let operation = |ranges, _| Operation::Discard { ranges };
            let rules = (limits, 0);
            Ok(match length(writable) {
                0 => ranged(memory, disk, rules, readable, operation, answer),
                _ => Parsed::Invalid(Kind::Unmap, answer),
            })
        }
        VIRTIO_BLK_T_WRITE_ZEROES if let Some(limits) = disk.write_zeroes => {
            let durability = disk.durability;
            let operation = |ranges, zeroing| Operation::WriteZeroes {
                ranges,
                zeroing: if disk.unmaps {
                    zeroing
                } else {
                    Zeroing::KeepSpace
                },
                durability,
            };
            let rules = (limits, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
            Ok(match length(writable) {
                0 => ranged(memory, disk, rules, readable, operation, answer),
                _ => Parsed::Invalid(Kind::Write, answer),
            })
        }
        _ => done(Status::Unsupported),
    }
}

/// A request for ranges, after checking that the disk has them.
fn ranged(
    memory: &GuestMemoryMmap,
    disk: RequestContext<'_>,
    (limits, flags): (RangeLimits, u32),
    list: &[Segment],
    operation: impl FnOnce(Vec<Range>, Zeroing) -> Operation,
    answer: Answer,
) -> Parsed {
    match ranges::read(memory, list, limits, disk.sectors, flags) {
        Listed::Ranges(ranges, zeroing) => without_data(operation(ranges, zeroing), answer),
        Listed::Invalid => {
            let kind = Kind::of(&operation(Vec::new(), Zeroing::KeepSpace));
            Parsed::Invalid(kind, answer)
        }
        Listed::Unsupported => Parsed::Done(Status::Unsupported, answer),
    }
}

/// A request that moves no data.
fn without_data(operation: Operation, answer: Answer) -> Parsed {
    let segments = Segments::new();
    Parsed::Submit(
        Request {
            operation,
            segments,
        },
        answer,
    )
}

/// A read or write, after checking its range and its memory.
fn transfer(
    memory: &GuestMemoryMmap,
    disk: RequestContext<'_>,
    sector: u64,
    data: &[Segment],
    operation: impl FnOnce(u64) -> Operation,
    answer: Answer,
) -> Result<Parsed, RequestError> {
    let bytes = length(data);
    let is_possible = bytes.is_multiple_of(SECTOR_SIZE)
        && bytes <= MAX_LENGTH
        && sector
            .checked_add(bytes / SECTOR_SIZE)
            .is_some_and(|end| end <= disk.sectors)
        && data.iter().all(|segment| segment.is_in(memory));
    let operation = operation(sector.saturating_mul(SECTOR_SIZE));
    if !is_possible {
        return Ok(Parsed::Invalid(Kind::of(&operation), answer));
    }
    let data_length = if operation.is_read() {
        // Below 4 GiB: within the limit.
        u32::try_from(bytes).unwrap_or(u32::MAX - 1)
    } else {
        0
    };
    let answer = Answer {
        data_length,
        ..answer
    };
    let data = data.iter().filter(|segment| segment.length > 0);
    let segments = data.copied().collect();
    Ok(Parsed::Submit(
        Request {
            operation,
            segments,
        },
        answer,
    ))
}

/// A request's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: u32,
    sector: u64,
}

/// Takes the header off the front of the readable parts, in any framing
/// (virtio 1.2 §2.7.4.1).
fn take_header(memory: &GuestMemoryMmap, readable: &mut [Segment]) -> Result<Header, RequestError> {
    if let Some(first) = readable.first_mut()
        && first.length >= HEADER_LENGTH
        && let Ok(slice) = memory.get_slice(first.address, HEADER_LENGTH as usize)
        && let (Ok(kind), Ok(sector)) = (slice.get_ref::<Le32>(0), slice.get_ref::<Le64>(8))
    {
        first.skip(HEADER_LENGTH);
        return Ok(Header {
            kind: kind.load().into(),
            sector: sector.load().into(),
        });
    }
    let mut header = [0; HEADER_LENGTH as usize];
    let mut rest = &mut header[..];
    for segment in readable {
        // At most 16.
        let count = u32::try_from(rest.len())
            .unwrap_or_default()
            .min(segment.length);
        let (now, later) = rest.split_at_mut(count as usize);
        memory
            .read_slice(now, segment.address)
            .map_err(|_| RequestError::HeaderOutsideMemory)?;
        segment.skip(count);
        rest = later;
        if rest.is_empty() {
            let [kind, sector] = [&header[..4], &header[8..]].map(little_endian);
            return Ok(Header {
                // Of four bytes.
                kind: u32::try_from(kind).unwrap_or_default(),
                sector,
            });
        }
    }
    Err(RequestError::Header)
}

/// Takes the status byte off the end of the writable parts.
fn take_status(
    memory: &GuestMemoryMmap,
    writable: &mut [Segment],
) -> Result<GuestAddress, RequestError> {
    let last = writable
        .iter_mut()
        .rev()
        .find(|segment| segment.length > 0)
        .ok_or(RequestError::Status)?;
    last.length -= 1;
    let address = last
        .address
        .checked_add(u64::from(last.length))
        .ok_or(RequestError::Status)?;
    if memory.check_address(address).is_some() {
        Ok(address)
    } else {
        Err(RequestError::Status)
    }
}

/// Writes the serial, zero-padded to its standard length, as far as it fits into the buffer.
/// Returns the bytes written, or none when the buffer is not in guest memory.
fn write_serial(memory: &GuestMemoryMmap, writable: &[Segment], serial: &str) -> Option<u32> {
    let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
    for (to, from) in id.iter_mut().zip(serial.bytes()) {
        *to = from;
    }
    let mut rest = &id[..];
    for segment in writable {
        let (now, later) = rest.split_at(rest.len().min(segment.length as usize));
        memory.write_slice(now, segment.address).ok()?;
        rest = later;
    }
    u32::try_from(id.len() - rest.len()).ok()
}

/// Up to eight bytes as a little-endian number.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}
