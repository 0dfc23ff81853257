//! The suite.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::{Image, ImageOptions};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Durability, Operation};
use crate::block::tests::bench::{Bench, Kind, MEMORY, file, no_other_children, read, write};

macro_rules! each_backend {
    ($($name:ident),* $(,)?) => {
        mod threads {
            $(#[test] fn $name() { super::$name(super::Kind::Threads); })*
        }
        mod io_uring {
            $(#[test] fn $name() { super::$name(super::Kind::IoUring); })*
        }
    };
}

each_backend![
    every_request_completes_once_and_a_failure_keeps_its_errno,
    far_more_requests_than_the_host_takes_at_once_all_complete,
    a_request_of_more_pieces_than_one_call_takes_is_done_whole,
    an_image_that_ends_too_early_is_an_io_error,
    an_image_that_was_cut_off_grows_again_where_it_is_written,
    an_offset_past_what_files_have_is_an_error_and_not_a_negative_one,
    a_full_device_is_no_space,
    a_flush_after_one_that_failed_does_not_pretend,
    a_flush_of_what_cannot_be_flushed_fails,
    nothing_is_done_for_a_request_of_no_bytes,
    the_event_is_quiet_when_nothing_waits,
    requests_in_flight_move_what_they_say,
    past_the_page_cache_too,
    past_the_page_cache_of_a_host_that_asks_for_more,
    without_safety_a_flush_does_nothing,
    what_is_in_flight_when_the_backend_goes_moves_no_freed_memory,
];

fn every_request_completes_once_and_a_failure_keeps_its_errno(kind: Kind) {
    let image = file(64 * 512);
    let mut bench = Bench::new(kind, image.path());
    for sector in 0..64u64 {
        bench.put(sector * 512, &[u8::try_from(sector).unwrap(); 512]);
        bench.submit(sector, write(sector * 512), &[(sector * 512, 512)]);
    }
    bench.submit(64, read(1 << 30), &[(0, 1)]);
    let flush = Operation::Flush;
    bench.submit(65, flush, &[]);
    for (token, result) in bench.wait(66) {
        let expected = if token == 64 { Err(Errno::EIO) } else { Ok(()) };
        assert_eq!(result, expected, "request {token}");
    }
    let bytes = std::fs::read(image.path()).unwrap();
    assert!(
        bytes
            .chunks(512)
            .enumerate()
            .all(|(i, sector)| sector.iter().all(|byte| usize::from(*byte) == i))
    );
    assert!(bench.backend.completed().is_empty());
}

fn far_more_requests_than_the_host_takes_at_once_all_complete(kind: Kind) {
    let image = file(2000 * 512);
    let mut bench = Bench::new(kind, image.path());
    for request in 0..2000u64 {
        let mark = u8::try_from(request % 251).unwrap();
        bench.put(request * 512, &[mark; 512]);
        bench.submit(request, write(request * 512), &[(request * 512, 512)]);
        if request % 700 == 0 {
            bench.backend.flush_submissions();
        }
    }
    assert!(bench.wait(2000).values().all(Result::is_ok));
    let bytes = std::fs::read(image.path()).unwrap();
    assert!(bytes == bench.get(0, 2000 * 512));
}

fn a_request_of_more_pieces_than_one_call_takes_is_done_whole(kind: Kind) {
    let image = file(1 << 20);
    let mut bench = Bench::new(kind, image.path());
    let text: Vec<u8> = (0..=252u8).cycle().take(9216).collect();
    bench.put(0, &text);
    // In reverse, so that a wrong order shows.
    let pieces: Vec<_> = (0..3072u64).rev().map(|piece| (piece * 3, 3)).collect();
    let durable = Operation::Write {
        offset: 512,
        durability: Durability::Durable,
    };
    assert_eq!(bench.perform(durable, &pieces), Ok(()));
    let bytes = std::fs::read(image.path()).unwrap();
    let backwards: Vec<u8> = text.chunks(3).rev().flatten().copied().collect();
    assert!(bytes[512..512 + 9216] == backwards);
    let elsewhere: Vec<_> = pieces.iter().map(|(at, n)| (at + 0x8_0000, *n)).collect();
    assert_eq!(bench.perform(read(512), &elsewhere), Ok(()));
    assert!(bench.get(0x8_0000, 9216) == text);
}

fn an_image_that_ends_too_early_is_an_io_error(kind: Kind) {
    let image = file(1024);
    let mut bench = Bench::new(kind, image.path());
    image.as_file().set_len(700).unwrap();
    bench.put(0, &[0x55; 1024]);
    assert_eq!(bench.perform(read(0), &[(0, 1024)]), Err(Errno::EIO));
    assert_eq!(bench.perform(read(4096), &[(0, 1024)]), Err(Errno::EIO));
    assert_eq!(bench.perform(read(0), &[(0, 512)]), Ok(()));
    assert_eq!(bench.get(0, 512), [0; 512]);
}

fn an_image_that_was_cut_off_grows_again_where_it_is_written(kind: Kind) {
    let image = file(8192);
    let mut bench = Bench::new(kind, image.path());
    image.as_file().set_len(0).unwrap();
    bench.put(0, &[0x55; 512]);
    assert_eq!(bench.perform(write(4096), &[(0, 512)]), Ok(()));
    let bytes = std::fs::read(image.path()).unwrap();
    assert_eq!(bytes.len(), 4096 + 512);
    assert!(bytes[..4096].iter().all(|byte| *byte == 0));
    assert!(bytes[4096..].iter().all(|byte| *byte == 0x55));
}

fn an_offset_past_what_files_have_is_an_error_and_not_a_negative_one(kind: Kind) {
    let image = file(0);
    let mut bench = Bench::new(kind, image.path());
    for offset in [u64::MAX - 511, 1 << 63] {
        assert_eq!(bench.perform(write(offset), &[(0, 512)]), Err(Errno::EFBIG));
        assert_eq!(bench.perform(read(offset), &[(0, 512)]), Err(Errno::EFBIG));
    }
}

fn a_full_device_is_no_space(kind: Kind) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut bench = Bench::on(kind, Image::with_file(full, 1 << 20));
    assert_eq!(bench.perform(write(512), &[(0, 512)]), Err(Errno::ENOSPC));
}

fn a_flush_after_one_that_failed_does_not_pretend(kind: Kind) {
    let image = file(512);
    let mut bench = Bench::new(kind, image.path());
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    assert_eq!(bench.image.flush_failed(Errno::ENOSPC), Errno::ENOSPC);
    for _ in 0..2 {
        assert_eq!(bench.perform(Operation::Flush, &[]), Err(Errno::ENOSPC));
    }
    // The first errno is kept.
    assert_eq!(bench.image.flush_failed(Errno::EIO), Errno::ENOSPC);
    assert_eq!(bench.perform(write(0), &[(0, 512)]), Ok(()));
}

fn a_flush_of_what_cannot_be_flushed_fails(kind: Kind) {
    let (pipe, _other_end) = std::io::pipe().unwrap();
    let image = Image::with_file(File::from(OwnedFd::from(pipe)), 512);
    let mut bench = Bench::on(kind, image);
    for _ in 0..2 {
        assert_eq!(
            bench.perform(Operation::Flush, &[]),
            Err(Errno(libc::EINVAL))
        );
    }
    assert_eq!(bench.image.may_flush(), Err(Errno(libc::EINVAL)));
}

fn nothing_is_done_for_a_request_of_no_bytes(kind: Kind) {
    let image = file(0);
    let mut bench = Bench::new(kind, image.path());
    assert_eq!(bench.perform(read(0), &[]), Ok(()));
    assert_eq!(bench.perform(write(0), &[(0, 0), (512, 0)]), Ok(()));
    assert_eq!(std::fs::metadata(image.path()).unwrap().len(), 0);
}

fn the_event_is_quiet_when_nothing_waits(kind: Kind) {
    let image = file(512);
    let mut bench = Bench::new(kind, image.path());
    assert!(!bench.is_readable(Duration::ZERO));
    assert_eq!(bench.perform(read(0), &[(0, 512)]), Ok(()));
    assert!(bench.backend.completed().is_empty());
    assert!(!bench.is_readable(Duration::ZERO));
}

fn what_is_in_flight_when_the_backend_goes_moves_no_freed_memory(kind: Kind) {
    let image = file(1 << 20);
    let mut bench = Bench::new(kind, image.path());
    for request in 0..64 {
        bench.submit(request, write(request << 14), &[(request << 14, 1 << 14)]);
    }
    bench.backend.flush_submissions();
    let Bench {
        backend, memory, ..
    } = bench;
    drop(backend);
    // A backend that still moves memory holds a reference to it.
    if kind == Kind::IoUring {
        assert_eq!(Arc::strong_count(&memory), 1);
    }
}

/// The kernel tears a ring down asynchronously, and must not delay the next machine by that.
#[test]
fn an_image_is_free_as_soon_as_its_ring_is_gone() {
    let _alone = no_other_children();
    let image = file(512);
    for _ in 0..50 {
        let mut bench = Bench::new(Kind::IoUring, image.path());
        assert_eq!(bench.perform(write(0), &[(0, 512)]), Ok(()));
    }
}

/// A read that the host does not complete, as on a network file system whose server is gone.
#[test]
fn a_ring_waits_for_the_kernel_before_it_lets_memory_go() {
    let (pipe, mut other_end) = std::io::pipe().unwrap();
    let image = Image::with_file(File::from(OwnedFd::from(pipe)), 512);
    let mut bench = Bench::on(Kind::IoUring, image);
    bench.submit(0, read(0), &[(0, 512)]);
    bench.submit(1, read(0), &[(512, 512)]);
    bench.backend.flush_submissions();
    // Queued, never started.
    bench.submit(2, read(0), &[(1024, 512)]);
    let Bench {
        backend, memory, ..
    } = bench;
    let (sender, gone) = channel();
    thread::spawn(move || {
        drop(backend);
        let _ = sender.send(());
    });
    assert!(gone.recv_timeout(Duration::from_millis(50)).is_err());
    assert!(Arc::strong_count(&memory) > 1);
    other_end.write_all(&[7; 512]).unwrap();
    drop(other_end);
    gone.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(Arc::strong_count(&memory), 1);
}

fn requests_in_flight_move_what_they_say(kind: Kind) {
    move_what_they_say(kind, CacheMode::Writeback, None);
}

fn past_the_page_cache_too(kind: Kind) {
    move_what_they_say(kind, CacheMode::None, None);
}

fn past_the_page_cache_of_a_host_that_asks_for_more(kind: Kind) {
    move_what_they_say(kind, CacheMode::None, Some(4096));
}

fn without_safety_a_flush_does_nothing(kind: Kind) {
    let image = file(512);
    let mut bench = Bench::on(kind, open(&image, CacheMode::Unsafe));
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    bench.image.flush_failed(Errno::EIO);
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
}

fn open(file: &tempfile::NamedTempFile, cache: CacheMode) -> Image {
    let options = ImageOptions {
        cache,
        ..ImageOptions::default()
    };
    Image::open(file.path(), options).unwrap()
}

fn move_what_they_say(kind: Kind, cache: CacheMode, alignment: Option<usize>) {
    const SECTORS: u64 = 256;
    // Whether it writes, sectors skipped before it, sectors, pieces, how far its memory is from
    // an aligned address, and whether the batch so far is started after it.
    let pieces = prop_oneof![Just(1u32), 1..40u32];
    let shift = prop_oneof![Just(0u64), Just(512), 1..4096u64];
    let step = (
        any::<bool>(),
        0..4u64,
        1..24u32,
        pieces,
        shift,
        any::<bool>(),
    );
    let batches = vec(vec(step, 1..40), 1..6);
    let config = ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(batches in batches)| {
        let image = file(SECTORS * 512);
        let mut opened = open(&image, cache);
        if let Some(bytes) = alignment {
            opened.align_to(bytes, bytes);
        }
        let mut bench = Bench::on(kind, opened);
        let mut model = vec![0; usize::try_from(SECTORS).unwrap() * 512];
        let mut stamp = 0u8;
        for batch in batches {
            let (mut sector, mut made) = (0, Vec::new());
            for (is_write, skip, sectors, pieces, shift, starts) in batch {
                let first = sector + skip;
                sector = first + u64::from(sectors);
                if sector > SECTORS {
                    break;
                }
                stamp = stamp.wrapping_add(1);
                let length = sectors * 512;
                // Some span two memory regions.
                let address = MEMORY / 4 - 8192 + made.len() as u64 * 20480 + shift;
                bench.put(address, &vec![stamp; length as usize]);
                let size = length.div_ceil(pieces);
                let segments: Vec<_> = (0..pieces)
                    .map(|piece| {
                        let at = (piece * size).min(length);
                        (address + u64::from(at), size.min(length - at))
                    })
                    .collect();
                let place = usize::try_from(first).unwrap() * 512;
                let place = place..place + length as usize;
                let operation = if is_write {
                    model[place.clone()].fill(stamp);
                    write(first * 512)
                } else {
                    read(first * 512)
                };
                bench.submit(made.len() as u64, operation, &segments);
                made.push((address, place));
                if starts {
                    bench.backend.flush_submissions();
                }
            }
            prop_assert!(bench.wait(made.len()).values().all(Result::is_ok));
            for (address, place) in made {
                prop_assert!(bench.get(address, place.len()) == model[place]);
            }
        }
        prop_assert!(std::fs::read(image.path()).unwrap() == model);
    });
}
