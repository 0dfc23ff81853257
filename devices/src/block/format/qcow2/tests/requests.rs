//! Requests that do what they say.

use std::fs::File;

use proptest::collection::vec;
use proptest::prelude::*;

use super::ground::{Ground, as_qemu_reads_it, bench, check, open, perform};
use crate::block::engine::thread_pool::Medium;
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::ImageOptions;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::{Bench, MEMORY, read, write};

fn options(cache: CacheMode) -> ImageOptions {
    ImageOptions {
        cache,
        ..ImageOptions::default()
    }
}

/// All that a disk of so many bytes reads as.
fn content<I>(bench: &mut Bench<I>, length: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < length {
        let count = (length - content.len()).min(1 << 20);
        let operation = read(content.len() as u64);
        let segments = [(0, u32::try_from(count).unwrap())];
        assert_eq!(bench.perform(operation, &segments), Ok(()));
        content.extend(bench.get(0, count));
    }
    content
}

#[test]
fn written_data_is_read_back_also_after_reopening() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 20, 65536);
    let mut disk = bench(&path, options(CacheMode::Writeback));
    assert_eq!(disk.backend.length(), 1 << 20);
    disk.put(0, &[7; 4096]);
    assert_eq!(
        disk.perform(write(70_000 / 512 * 512), &[(0, 4096)]),
        Ok(())
    );
    let before = content(&mut disk, 1 << 20);
    drop(disk);
    check(&path);
    let mut disk = bench(&path, options(CacheMode::Writeback));
    assert!(content(&mut disk, 1 << 20) == before);
    let start = 70_000 / 512 * 512;
    assert!(before[start..start + 4096].iter().all(|byte| *byte == 7));
    assert!(before[..start].iter().all(|byte| *byte == 0));
}

#[test]
fn without_a_backing_file_any_batch_does_what_it_says() {
    for cache in [CacheMode::Writeback, CacheMode::None, CacheMode::Unsafe] {
        batches_do_what_they_say(cache, Under::Nothing, 65536);
    }
    batches_do_what_they_say(CacheMode::None, Under::Nothing, 512);
}

#[test]
fn over_a_raw_image_any_batch_does_what_it_says() {
    batches_do_what_they_say(CacheMode::Writeback, Under::Raw, 4096);
    batches_do_what_they_say(CacheMode::None, Under::Raw, 65536);
}

#[test]
fn over_two_images_any_batch_does_what_it_says() {
    batches_do_what_they_say(CacheMode::Writeback, Under::Qcow2, 4096);
    batches_do_what_they_say(CacheMode::None, Under::Qcow2, 65536);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    Nothing,
    /// Shorter than the disk.
    Raw,
    /// On top of that, and longer.
    Qcow2,
}

#[derive(Debug, Clone, Copy)]
enum Do {
    Read,
    Write(Durability),
    Discard,
    Zero(Zeroing),
}

fn batches_do_what_they_say(cache: CacheMode, under: Under, cluster_size: usize) {
    const SECTORS: u64 = 1024;
    let what = prop_oneof![
        3 => Just(Do::Read),
        4 => Just(Do::Write(Durability::Cached)),
        1 => Just(Do::Write(Durability::Durable)),
        1 => Just(Do::Discard),
        1 => prop_oneof![Just(Zeroing::KeepSpace), Just(Zeroing::MayUnmap)].prop_map(Do::Zero),
    ];
    // What, sectors skipped before it, sectors, how far its memory is from an aligned address.
    let shift = prop_oneof![Just(0u64), Just(512), 1..4096u64];
    let step = (what, 0..48u64, 1..48u32, shift);
    // Whether the disk is flushed after a batch, and whether it is opened again.
    let batches = vec((vec(step, 1..24), any::<bool>(), 0..4u32), 1..6);
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(batches in batches)| {
        let ground = Ground::new();
        let length = usize::try_from(SECTORS * 512).unwrap();
        // What each sector may be; a discarded one may be anything.
        let mut model = vec![Some(0u8); length];
        let mut backing = None;
        if under != Under::Nothing {
            let base: Vec<u8> = (0..=250u8).cycle().take(length / 2).collect();
            std::fs::write(ground.path("base"), &base).unwrap();
            for (place, byte) in base.iter().enumerate() {
                model[place] = Some(*byte);
            }
            backing = Some(("base", "raw"));
        }
        if under == Under::Qcow2 {
            let middle = ground.overlay("middle", SECTORS * 512 + 65536, 65536, backing);
            let mut disk = bench(&middle, options(CacheMode::Writeback));
            disk.put(0, &[0xaa; 65536]);
            prop_assert_eq!(disk.perform(write(30 * 512), &[(0, 65536)]), Ok(()));
            model[30 * 512..30 * 512 + 65536].fill(Some(0xaa));
            backing = Some(("middle", "qcow2"));
        }
        let path = ground.overlay("disk", SECTORS * 512, cluster_size, backing);
        let mut disk = bench(&path, options(cache));
        let mut stamp = 0u8;
        for (batch, is_flushed, reopened) in batches {
            let (mut sector, mut made) = (0, Vec::new());
            for (what, skip, sectors, shift) in batch {
                let first = sector + skip;
                sector = first + u64::from(sectors);
                if sector > SECTORS {
                    break;
                }
                stamp = stamp.wrapping_add(1);
                let bytes = sectors * 512;
                let address = MEMORY / 4 - 8192 + made.len() as u64 * 32768 + shift;
                disk.put(address, &vec![stamp; bytes as usize]);
                let start = usize::try_from(first * 512).unwrap();
                let place = start..start + bytes as usize;
                let ranges = vec![Range { offset: first * 512, length: u64::from(bytes) }];
                let (operation, segments) = match what {
                    Do::Read => (read(first * 512), Some((address, bytes))),
                    Do::Write(durability) => {
                        model[place.clone()].fill(Some(stamp));
                        let offset = first * 512;
                        (Operation::Write { offset, durability }, Some((address, bytes)))
                    }
                    Do::Discard => {
                        model[place.clone()].fill(None);
                        (Operation::Discard { ranges }, None)
                    }
                    Do::Zero(zeroing) => {
                        model[place.clone()].fill(Some(0));
                        let durability = Durability::Cached;
                        (Operation::WriteZeroes { ranges, zeroing, durability }, None)
                    }
                };
                let is_read = matches!(what, Do::Read);
                let segments: Vec<_> = segments.into_iter().collect();
                disk.submit(made.len() as u64, operation, &segments);
                made.push(is_read.then_some((address, place)));
            }
            let ended = disk.wait(made.len());
            prop_assert!(ended.values().all(Result::is_ok), "{:?}", ended);
            for (address, place) in made.into_iter().flatten() {
                let found = disk.get(address, place.len());
                prop_assert!(agrees(&found, &model[place]));
            }
            if is_flushed {
                prop_assert_eq!(disk.perform(Operation::Flush, &[]), Ok(()));
            }
            if reopened == 0 {
                drop(disk);
                disk = bench(&path, options(cache));
            }
        }
        prop_assert!(agrees(&content(&mut disk, length), &model));
        drop(disk);
        check(&path);
        if let Some(found) = as_qemu_reads_it(&path) {
            prop_assert!(agrees(&found, &model));
        }
    });
}

fn agrees(found: &[u8], model: &[Option<u8>]) -> bool {
    found.len() == model.len()
        && found
            .iter()
            .zip(model)
            .all(|(found, expected)| expected.is_none_or(|expected| expected == *found))
}

#[test]
fn a_disk_that_is_only_read_refuses_writes_and_stays_as_it_is() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 20, 65536);
    let before = std::fs::read(&path).unwrap();
    let mut disk = bench(
        &path,
        ImageOptions {
            access: Access::ReadOnly,
            ..ImageOptions::default()
        },
    );
    assert!(disk.perform(write(0), &[(0, 512)]).is_err());
    assert_eq!(disk.perform(Operation::Flush, &[]), Ok(()));
    assert_eq!(disk.perform(read(0), &[(0, 512)]), Ok(()));
    drop(disk);
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_longer_disk_shows_nothing_of_a_longer_backing_file() {
    let ground = Ground::new();
    std::fs::write(ground.path("base"), vec![0x55; 1 << 20]).unwrap();
    let path = ground.overlay("disk", 1 << 19, 65536, Some(("base", "raw")));
    let mut disk = bench(&path, options(CacheMode::Writeback));
    assert_eq!(disk.backend.resize(1 << 21), Ok(()));
    assert_eq!(disk.backend.length(), 1 << 21);
    let found = content(&mut disk, 1 << 21);
    assert!(found[..1 << 19].iter().all(|byte| *byte == 0x55));
    assert!(found[1 << 19..].iter().all(|byte| *byte == 0));
    disk.put(0, &[1; 512]);
    assert_eq!(disk.perform(write((1 << 21) - 512), &[(0, 512)]), Ok(()));
    assert_eq!(disk.backend.resize(1 << 18), Ok(()));
    assert_eq!(disk.perform(read((1 << 18) - 512), &[(0, 512)]), Ok(()));
    assert_eq!(disk.perform(read(1 << 18), &[(0, 512)]), Err(Errno::EIO));
    drop(disk);
    check(&path);
}

#[test]
fn the_rest_of_the_last_cluster_is_zeroes_when_the_disk_is_longer_again() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 18, 65536);
    let mut disk = bench(&path, options(CacheMode::Writeback));
    disk.put(0, &[7; 1 << 18]);
    assert_eq!(disk.perform(write(0), &[(0, 1 << 18)]), Ok(()));
    assert_eq!(disk.backend.resize(51_200), Ok(()));
    // What the first one knows is not known to the next.
    drop(disk);
    let mut disk = bench(&path, options(CacheMode::Writeback));
    assert_eq!(disk.backend.resize(1 << 18), Ok(()));
    let found = content(&mut disk, 1 << 18);
    assert!(found[..51_200].iter().all(|byte| *byte == 7));
    assert!(found[51_200..].iter().all(|byte| *byte == 0));
    drop(disk);
    check(&path);
}

#[test]
fn a_discard_of_what_was_never_written_adds_nothing_to_the_image() {
    let ground = Ground::new();
    let path = ground.image("disk", 64 << 20, 4096);
    let before = std::fs::metadata(&path).unwrap().len();
    let mut disk = bench(&path, options(CacheMode::Writeback));
    let discard = |offset, length| Operation::Discard {
        ranges: vec![Range { offset, length }],
    };
    assert_eq!(disk.perform(discard(0, 64 << 20), &[]), Ok(()));
    assert_eq!(disk.perform(discard(512, 32 << 20), &[]), Ok(()));
    assert_eq!(disk.perform(Operation::Flush, &[]), Ok(()));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), before);
    // What was written goes, wherever it is.
    disk.put(0, &[7; 8192]);
    let places = [
        0,
        8192,
        16384,
        (2 << 20) - 4096,
        32 << 20,
        (64 << 20) - 8192,
    ];
    for offset in places {
        assert_eq!(disk.perform(write(offset), &[(0, 8192)]), Ok(()));
    }
    assert_eq!(disk.perform(Operation::Flush, &[]), Ok(()));
    let written = std::fs::metadata(&path).unwrap().len();
    assert_eq!(disk.perform(discard(0, 64 << 20), &[]), Ok(()));
    for offset in places {
        assert_eq!(disk.perform(read(offset), &[(0, 8192)]), Ok(()));
        assert!(disk.get(0, 8192).iter().all(|byte| *byte == 0), "{offset}");
    }
    assert_eq!(disk.perform(Operation::Flush, &[]), Ok(()));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), written);
    drop(disk);
    check(&path);
}

#[test]
fn a_disk_keeps_its_size_if_a_table_that_is_to_go_cannot_be_read() {
    let ground = Ground::new();
    let path = ground.image("disk", 128 << 10, 512);
    let (image, _) = open(&path).unwrap();
    assert_eq!(perform(&image, write(0), 128 << 10, 7), Ok(()));
    image.close();
    drop(image);
    let (image, _) = open(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    // The tables that were made last are at the end.
    file.set_len(64 << 10).unwrap();
    assert_eq!(image.resize(512), Err(Errno::EIO));
    assert_eq!(image.length(), 128 << 10);
    assert_eq!(perform(&image, read(0), 512, 0), Ok(()));
}
