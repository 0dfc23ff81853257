//! Steps after short transfers, interruptions and refusals.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::block::engine::step::{IoStep, Progress, Transfer};
use crate::block::host::image::Image;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation};
use crate::block::model::segment::Segment;

fn image() -> Image {
    Image::with_file(tempfile::tempfile().unwrap(), 1 << 20)
}

/// A request whose iovecs have these lengths and are contiguous.
fn request(operation: Operation, lengths: &[u32]) -> (HostRequest, Arc<GuestMemoryMmap>) {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
    let memory = Arc::new(memory);
    let mut address = 0;
    let segments = lengths.iter().map(|length| {
        let segment = Segment {
            address: GuestAddress(address),
            length: *length,
        };
        address += u64::from(*length);
        segment
    });
    let buffers = IoBuffers::new(&memory, segments).unwrap();
    (HostRequest { operation, buffers }, memory)
}

const FLUSH: Operation = Operation::Flush;
const READ: Operation = Operation::Read { offset: 512 };

/// The result of a request when the host returns these values.
fn end(
    image: &Image,
    operation: &Operation,
    answers: &[Result<usize, Errno>],
) -> Option<Result<(), Errno>> {
    let length = u32::from(*operation != FLUSH) * 100;
    let mut progress = Progress::new(request(operation.clone(), &[length]).0);
    for answer in answers {
        assert!(
            !matches!(progress.step(image), IoStep::Done(_)),
            "too early"
        );
        progress.ended(image, *answer);
    }
    match progress.step(image) {
        IoStep::Done(result) => Some(result),
        _ => None,
    }
}

#[test]
fn an_interrupted_call_is_made_again() {
    let interrupted = Err(Errno(libc::EINTR));
    let image = image();
    for operation in [&READ, &FLUSH] {
        assert_eq!(end(&image, operation, &[interrupted; 100]), None);
    }
    let ended = end(&image, &READ, &[interrupted, Ok(40), interrupted, Ok(60)]);
    assert_eq!(ended, Some(Ok(())));
    assert_eq!(end(&image, &FLUSH, &[interrupted, Ok(0)]), Some(Ok(())));
}

#[test]
fn a_host_without_means_is_asked_again_but_not_for_ever() {
    let again = Err(Errno(libc::EAGAIN));
    assert_eq!(end(&image(), &READ, &[again; 16]), None);
    assert_eq!(
        end(&image(), &READ, &[again; 17]),
        Some(again.map(|_: usize| ()))
    );
    // Each success resets the count.
    let mut answers = vec![again; 16];
    answers.push(Ok(1));
    answers.extend([again; 16]);
    assert_eq!(end(&image(), &READ, &answers), None);
}

#[test]
fn an_error_ends_a_request_whatever_was_done_before() {
    for errno in [Errno::EIO, Errno::ENOSPC, Errno::EFBIG] {
        assert_eq!(end(&image(), &READ, &[Err(errno)]), Some(Err(errno)));
        let late = end(&image(), &READ, &[Ok(99), Err(errno)]);
        assert_eq!(late, Some(Err(errno)));
    }
    assert_eq!(
        end(&image(), &READ, &[Ok(99), Ok(0)]),
        Some(Err(Errno::EIO))
    );
}

#[test]
fn a_failed_flush_is_the_end_of_all_flushes_also_of_one_on_its_way() {
    let image = image();
    let mut on_its_way = Progress::new(request(FLUSH, &[]).0);
    assert!(matches!(on_its_way.step(&image), IoStep::Sync));
    assert_eq!(
        end(&image, &FLUSH, &[Err(Errno::ENOSPC)]),
        Some(Err(Errno::ENOSPC))
    );
    on_its_way.ended(&image, Ok(0));
    assert!(matches!(
        on_its_way.step(&image),
        IoStep::Done(Err(Errno::ENOSPC))
    ));
    assert_eq!(end(&image, &FLUSH, &[]), Some(Err(Errno::ENOSPC)));
}

#[test]
fn only_a_durable_write_asks_for_durability() {
    for (durability, expected) in [
        (Durability::Cached, 0),
        (Durability::Durable, libc::RWF_DSYNC),
    ] {
        let operation = Operation::Write {
            offset: 7,
            durability,
        };
        let mut progress = Progress::new(request(operation, &[512]).0);
        let IoStep::Write(transfer, flags) = progress.step(&image()) else {
            panic!("not a write");
        };
        assert_eq!((transfer.place, transfer.buffers.length()), (7, 512));
        assert_eq!(flags, expected);
    }
}

proptest! {
    /// A host that moves no more than it returns.
    #[test]
    fn a_transfer_completes_in_portions_of_any_size(
        lengths in vec(0..600u32, 1..30),
        portions in vec(1..900usize, 1..200),
        is_read in any::<bool>(),
    ) {
        let image = image();
        let total: u32 = lengths.iter().sum();
        let text: Vec<u8> = (0..=250u8).cycle().take(total as usize).collect();
        let operation = if is_read {
            READ
        } else {
            Operation::Write { offset: 512, durability: Durability::Cached }
        };
        let (request, memory) = request(operation, &lengths);
        if is_read {
            image.file().write_all_at(&text, 512).unwrap();
        } else {
            memory.write_slice(&text, GuestAddress(0)).unwrap();
        }
        let mut progress = Progress::new(request);
        let mut portions = portions.into_iter().cycle();
        loop {
            let moved = match progress.step(&image) {
                IoStep::Read(Transfer { buffers, place, .. }) => {
                    buffers.read_from(image.file(), place)
                },
                IoStep::Write(Transfer { buffers, place, .. }, flags) => {
                    buffers.write_to(image.file(), place, flags)
                }
                IoStep::Sync | IoStep::Allocate(_) => panic!("nobody asked for that"),
                IoStep::Done(result) => {
                    prop_assert_eq!(result, Ok(()));
                    break;
                }
            };
            // The next step repeats what was moved beyond the returned count.
            progress.ended(&image, moved.map(|moved| moved.min(portions.next().unwrap())));
        }
        let mut bytes = vec![0; text.len()];
        if is_read {
            memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
        } else if total > 0 {
            image.file().read_exact_at(&mut bytes, 512).unwrap();
        }
        prop_assert!(bytes == text);
    }
}
