//! Discards and zeroes, on either backend.

use std::os::unix::fs::MetadataExt;

use crate::block::engine::step::{Allocation, IoStep, Progress};
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::{Image, ImageOptions};
use crate::block::model::access::Access;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::{Bench, Kind, file};

const KIB: u64 = 1024;

fn range(offset: u64, length: u64) -> Range {
    Range { offset, length }
}

fn zeroes(ranges: &[Range], zeroing: Zeroing, durability: Durability) -> Operation {
    let ranges = ranges.to_vec();
    Operation::WriteZeroes {
        ranges,
        zeroing,
        durability,
    }
}

fn discard(ranges: &[Range]) -> Operation {
    let ranges = ranges.to_vec();
    Operation::Discard { ranges }
}

/// An image of 64 KiB without a hole.
fn full(kind: Kind, cache: CacheMode) -> (tempfile::NamedTempFile, Bench) {
    let image = file(0);
    std::fs::write(image.path(), [0xaa; 64 << 10]).unwrap();
    image.as_file().sync_all().unwrap();
    let options = ImageOptions {
        cache,
        ..ImageOptions::default()
    };
    let bench = Bench::on(kind, Image::open(image.path(), options).unwrap());
    (image, bench)
}

/// Which bytes are zero, and that all others are as they were.
fn zeroed(image: &tempfile::NamedTempFile) -> Vec<Range> {
    let bytes = std::fs::read(image.path()).unwrap();
    let mut found: Vec<Range> = Vec::new();
    for (offset, byte) in (0..).zip(bytes) {
        match byte {
            0 => match found.last_mut() {
                Some(last) if last.end() == offset => last.length += 1,
                _ => found.push(range(offset, 1)),
            },
            0xaa => {}
            other => panic!("{other:#x} at {offset}"),
        }
    }
    found
}

fn each(test: impl Fn(Kind, CacheMode)) {
    for kind in [Kind::Threads, Kind::IoUring] {
        for cache in [CacheMode::Writeback, CacheMode::None, CacheMode::Unsafe] {
            test(kind, cache);
        }
    }
}

#[test]
fn ranges_read_as_zeroes_to_the_byte_and_nothing_else_does() {
    each(|kind, cache| {
        for zeroing in [Zeroing::KeepSpace, Zeroing::MayUnmap] {
            for durability in [Durability::Cached, Durability::Durable] {
                let (image, mut bench) = full(kind, cache);
                let ranges = [range(512, 512), range(0, 0), range(8 * KIB, 20 * KIB)];
                let operation = zeroes(&ranges, zeroing, durability);
                assert_eq!(bench.perform(operation, &[]), Ok(()));
                assert_eq!(zeroed(&image), [ranges[0], ranges[2]]);
            }
        }
    });
}

#[test]
fn space_is_given_back_when_it_may_be_and_kept_when_it_may_not() {
    each(|kind, cache| {
        let (image, mut bench) = full(kind, cache);
        let blocks = || image.as_file().metadata().unwrap().blocks();
        let before = blocks();
        let part = [range(16 * KIB, 16 * KIB)];
        let keeping = zeroes(&part, Zeroing::KeepSpace, Durability::Cached);
        assert_eq!(bench.perform(keeping, &[]), Ok(()));
        assert!(blocks() >= before);
        assert!(bench.image.capabilities().unmaps);
        let unmapping = zeroes(&part, Zeroing::MayUnmap, Durability::Cached);
        assert_eq!(bench.perform(unmapping, &[]), Ok(()));
        assert_eq!(blocks(), before - 32);
        assert_eq!(
            bench.perform(discard(&[range(32 * KIB, 8 * KIB)]), &[]),
            Ok(())
        );
        assert_eq!(blocks(), before - 48);
        assert_eq!(zeroed(&image), [range(16 * KIB, 24 * KIB)]);
    });
}

#[test]
fn a_discard_does_nothing_to_what_it_only_touches() {
    each(|kind, cache| {
        let (image, mut bench) = full(kind, cache);
        let ranges = [
            range(512, 1024),
            range(8 * KIB - 512, 4 * KIB + 1024),
            range(20 * KIB, 0),
        ];
        assert_eq!(bench.perform(discard(&ranges), &[]), Ok(()));
        assert_eq!(zeroed(&image), [range(8 * KIB, 4 * KIB)]);
    });
}

#[test]
fn a_range_past_what_files_have_is_an_error() {
    each(|kind, cache| {
        let (image, mut bench) = full(kind, cache);
        let far = [range(u64::MAX - 511, 512)];
        let result = bench.perform(zeroes(&far, Zeroing::KeepSpace, Durability::Cached), &[]);
        assert_eq!(result, Err(Errno::EFBIG));
        assert_eq!(bench.perform(discard(&far), &[]), Err(Errno::EFBIG));
        assert_eq!(zeroed(&image), []);
    });
}

#[test]
fn an_image_that_may_not_be_written_offers_nothing() {
    let image = file(4096);
    let options = ImageOptions {
        access: Access::ReadOnly,
        ..ImageOptions::default()
    };
    let image = Image::open(image.path(), options).unwrap();
    assert_eq!(image.capabilities().discard, None);
    assert_eq!(image.capabilities().write_zeroes, None);
}

/// The steps for a host that can neither punch nor zero, up to the first write.
#[test]
fn where_the_host_has_no_other_way_zeroes_are_written() {
    let file = file(0);
    std::fs::write(file.path(), [0xaa; 600 << 10]).unwrap();
    let image = Image::open(file.path(), ImageOptions::default()).unwrap();
    let all = range(512, (600 << 10) - 1024);
    let mut progress = Progress::new(HostRequest::without_data(zeroes(
        &[all],
        Zeroing::MayUnmap,
        Durability::Durable,
    )));
    let (mut modes, mut written, mut synced) = (Vec::new(), 0, 0);
    loop {
        let result = match progress.step(&image) {
            IoStep::Allocate(Allocation { mode, range }) => {
                assert_eq!(range, all);
                modes.push(mode);
                Err(Errno(libc::EOPNOTSUPP))
            }
            IoStep::Write(transfer, 0) => {
                // A short transfer.
                let moved = transfer.buffers.write_to(image.file(), transfer.place, 0);
                written += 1;
                moved.map(|moved| if written == 1 { 1000 } else { moved })
            }
            IoStep::Sync => {
                synced += 1;
                Ok(0)
            }
            IoStep::Done(result) => {
                assert_eq!(result, Ok(()));
                break;
            }
            step => panic!("{step:?}"),
        };
        progress.ended(&image, result);
    }
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    assert_eq!(modes, [punch, libc::FALLOC_FL_ZERO_RANGE]);
    assert!(written > 2);
    assert_eq!(synced, 1);
    assert_eq!(zeroed(&file), [all]);
}

#[test]
fn a_resized_image_has_its_new_length_and_zeroes_at_its_end() {
    each(|kind, cache| {
        let (image, mut bench) = full(kind, cache);
        assert_eq!(bench.backend.resize(128 * KIB), Ok(()));
        assert_eq!(bench.backend.length(), 128 * KIB);
        assert_eq!(zeroed(&image), [range(64 * KIB, 64 * KIB)]);
        assert_eq!(bench.backend.resize(4 * KIB), Ok(()));
        assert_eq!(image.as_file().metadata().unwrap().len(), 4 * KIB);
        let too_much = bench.backend.resize(u64::MAX - 511);
        assert!(too_much.is_err());
        assert_eq!(bench.backend.length(), 4 * KIB);
    });
}
