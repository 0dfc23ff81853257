//! What the host gets back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use super::ground::{Ground, UNLOCKED, bench, check, open, perform, qemu_img, read_back};
use crate::block::engine::thread_pool::Medium;
use crate::block::format::qcow2::disk::Qcow2Image;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::{read, write};

/// Bytes that a file takes on the host.
fn space(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn discard(offset: u64, length: u64) -> Operation {
    let ranges = vec![Range { offset, length }];
    Operation::Discard { ranges }
}

fn fill(image: &Qcow2Image, start: u64, end: u64, byte: u8) {
    for offset in (start..end).step_by(1 << 20) {
        let length = u32::try_from((end - offset).min(1 << 20)).unwrap();
        assert_eq!(perform(image, write(offset), length, byte), Ok(()));
    }
}

fn all(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().all(|found| *found == byte)
}

#[test]
fn a_discard_gives_the_host_the_space_and_nothing_else() {
    for version in [2, 3] {
        for cluster_size in [4096, 65536] {
            gives_back_the_space(version, cluster_size);
        }
    }
}

fn gives_back_the_space(version: u8, cluster_size: usize) {
    let ground = Ground::new();
    let path = ground.image("disk", 32 << 20, cluster_size);
    if version == 2 {
        super::bad_images::put(&path, 4, &2u32.to_be_bytes());
    }
    let (image, _) = open(&path).unwrap();
    fill(&image, 0, 16 << 20, 7);
    fill(&image, 16 << 20, 17 << 20, 9);
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    let (full, length) = (space(&path), fs::metadata(&path).unwrap().len());
    // All but a bit at each end.
    let part = discard(512, (16 << 20) - 1024);
    assert_eq!(perform(&image, part, 0, 0), Ok(()));
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    let less = full - space(&path);
    let edges = 2 * cluster_size as u64;
    assert!(
        less >= (16 << 20) - edges - (256 << 10),
        "{version}: {less}"
    );
    let found = read_back(&image, 17 << 20);
    assert!(all(&found[cluster_size..(16 << 20) - cluster_size], 0));
    assert!(all(&found[..512], 7) && all(&found[(16 << 20) - 512..16 << 20], 7));
    assert!(all(&found[16 << 20..], 9));
    // The clusters have not gone: they are used again.
    fill(&image, 17 << 20, 32 << 20, 5);
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    assert!(fs::metadata(&path).unwrap().len() <= length + (1 << 20));
    let found = read_back(&image, 32 << 20);
    assert!(all(&found[16 << 20..17 << 20], 9) && all(&found[17 << 20..], 5));
    image.close();
    drop(image);
    check(&path);
    let (image, _) = open(&path).unwrap();
    assert!(read_back(&image, 32 << 20) == found);
}

#[test]
fn zeroes_that_may_unmap_give_space_back_and_others_keep_it() {
    let ground = Ground::new();
    let path = ground.image("disk", 16 << 20, 65536);
    let (image, _) = open(&path).unwrap();
    fill(&image, 0, 16 << 20, 7);
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    let full = space(&path);
    let zeroes = |offset, zeroing| Operation::WriteZeroes {
        ranges: vec![Range {
            offset,
            length: 8 << 20,
        }],
        zeroing,
        durability: Durability::Durable,
    };
    assert_eq!(perform(&image, zeroes(0, Zeroing::KeepSpace), 0, 0), Ok(()));
    assert_eq!(space(&path), full);
    assert_eq!(
        perform(&image, zeroes(8 << 20, Zeroing::MayUnmap), 0, 0),
        Ok(())
    );
    assert!(space(&path) + (8 << 20) <= full);
    assert!(all(&read_back(&image, 16 << 20), 0));
    image.close();
    drop(image);
    check(&path);
}

#[test]
fn zeroes_where_nothing_is_need_no_tables() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 30, 4096);
    let before = fs::metadata(&path).unwrap().len();
    let (image, _) = open(&path).unwrap();
    for zeroing in [Zeroing::KeepSpace, Zeroing::MayUnmap] {
        let zeroes = Operation::WriteZeroes {
            ranges: vec![Range {
                offset: 0,
                length: 1 << 30,
            }],
            zeroing,
            durability: Durability::Durable,
        };
        assert_eq!(perform(&image, zeroes, 0, 0), Ok(()));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), before);
}

#[test]
fn a_discard_over_a_backing_file_reads_as_zeroes_and_gives_space_back() {
    let ground = Ground::new();
    fs::write(ground.path("base"), vec![0x55; 8 << 20]).unwrap();
    let path = ground.overlay("disk", 8 << 20, 65536, Some(("base", "raw")));
    let (image, _) = open(&path).unwrap();
    fill(&image, 0, 4 << 20, 7);
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    let full = space(&path);
    assert_eq!(perform(&image, discard(0, 4 << 20), 0, 0), Ok(()));
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    assert!(space(&path) + (4 << 20) <= full);
    let found = read_back(&image, 8 << 20);
    assert!(all(&found[..4 << 20], 0) && all(&found[4 << 20..], 0x55));
    image.close();
    drop(image);
    // Version 2 cannot say that something reads as zeroes there.
    super::bad_images::put(&path, 4, &2u32.to_be_bytes());
    let (image, _) = open(&path).unwrap();
    assert_eq!(image.capabilities().discard, None);
    fill(&image, 4 << 20, 5 << 20, 7);
    assert_eq!(perform(&image, discard(4 << 20, 1 << 20), 0, 0), Ok(()));
    assert!(all(&read_back(&image, 5 << 20)[4 << 20..], 7));
}

#[test]
fn a_discard_of_what_a_snapshot_has_gives_nothing_of_it_back() {
    let ground = Ground::new();
    let path = ground.image("disk", 4 << 20, 65536);
    let (image, _) = open(&path).unwrap();
    fill(&image, 0, 4 << 20, 7);
    image.close();
    drop(image);
    let name = path.to_str().unwrap();
    if !qemu_img(&["snapshot", "-c", "s", name]) {
        return;
    }
    let (image, _) = open(&path).unwrap();
    // Half of it is the disk's own then.
    fill(&image, 0, 2 << 20, 8);
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    let full = space(&path);
    assert_eq!(perform(&image, discard(0, 4 << 20), 0, 0), Ok(()));
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    assert!(space(&path) + (2 << 20) <= full);
    assert!(all(&read_back(&image, 4 << 20), 0));
    image.close();
    drop(image);
    assert!(qemu_img(&["check", name]));
    assert!(qemu_img(&["snapshot", "-a", "s", name]));
    let (image, _) = open(&path).unwrap();
    assert!(all(&read_back(&image, 4 << 20), 7));
}

#[test]
fn compressed_clusters_give_their_space_back_when_the_last_is_gone() {
    let ground = Ground::new();
    // Six bits of eight can be anything.
    let mut state = 1u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0] >> 2
    };
    let bytes: Vec<u8> = (0..4 << 20).map(|_| byte()).collect();
    fs::write(ground.path("raw"), &bytes).unwrap();
    let [raw, disk] = ["raw", "disk"].map(|name| ground.path(name).display().to_string());
    if !qemu_img(&["convert", "-c", "-O", "qcow2", "-f", "raw", &raw, &disk]) {
        return;
    }
    let path = Path::new(&disk);
    let full = space(path);
    let (image, _) = open(path).unwrap();
    assert_eq!(perform(&image, discard(0, 3 << 20), 0, 0), Ok(()));
    // One that is written is not compressed any more.
    assert_eq!(perform(&image, write(3 << 20), 65536, 1), Ok(()));
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    assert!(space(path) < full / 2, "{full} {}", space(path));
    let found = read_back(&image, 4 << 20);
    let written = 3 << 20..(3 << 20) + 65536;
    assert!(all(&found[..3 << 20], 0) && all(&found[written.clone()], 1));
    assert!(found[written.end..] == bytes[written.end..]);
    image.close();
    drop(image);
    assert!(qemu_img(&["check", &disk]));
}

#[test]
fn no_hole_is_made_in_a_cluster_that_is_used_again() {
    let ground = Ground::new();
    let path = ground.image("disk", 8 << 20, 4096);
    let (image, _) = open(&path).unwrap();
    thread::scope(|scope| {
        for part in 0..4u8 {
            let image = &image;
            scope.spawn(move || {
                let start = u64::from(part) << 20;
                for round in 1..24u8 {
                    let byte = round << 3 | part;
                    let offset = start + u64::from(round) * 8192;
                    fill(image, offset, offset + (256 << 10), byte);
                    let flushes = round % 3 == 0;
                    let gone = discard(offset, 128 << 10);
                    assert_eq!(perform(image, gone, 0, 0), Ok(()));
                    if flushes {
                        assert_eq!(perform(image, Operation::Flush, 0, 0), Ok(()));
                    }
                    // What another has given away is taken here.
                    fill(image, offset, offset + (64 << 10), byte ^ 0xff);
                    let before = usize::try_from(offset).unwrap();
                    let found = read_back(image, before + (256 << 10));
                    let found = &found[before..];
                    assert!(all(&found[..64 << 10], byte ^ 0xff));
                    assert!(all(&found[64 << 10..128 << 10], 0));
                    assert!(all(&found[128 << 10..], byte));
                }
            });
        }
    });
    image.close();
    drop(image);
    check(&path);
}

#[test]
fn a_shorter_disk_needs_no_tables_for_what_is_empty() {
    for cluster_size in [4096, 65536] {
        let ground = Ground::new();
        fs::write(ground.path("base"), vec![0x55; 1 << 20]).unwrap();
        for backing in [None, Some(("base", "raw"))] {
            let path = ground.overlay("disk", 1 << 40, cluster_size, backing);
            let (image, _) = open(&path).unwrap();
            assert_eq!(perform(&image, write(2 << 30), 65536, 7), Ok(()));
            assert_eq!(perform(&image, write(0), 65536, 8), Ok(()));
            assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
            let (length, full) = (fs::metadata(&path).unwrap().len(), space(&path));
            assert_eq!(image.resize(1 << 30), Ok(()));
            assert_eq!(image.length(), 1 << 30);
            assert_eq!(fs::metadata(&path).unwrap().len(), length);
            assert!(space(&path) + 65536 <= full, "{cluster_size} {backing:?}");
            image.close();
            drop(image);
            check(&path);
            let (image, _) = open(&path).unwrap();
            assert!(all(&read_back(&image, 65536), 8));
        }
    }
}

#[test]
fn a_disk_that_another_cut_short_shows_nothing_of_it_when_it_is_longer_again() {
    for (cluster_size, cut) in [(512, 40 << 10), (65536, 100 << 10)] {
        let ground = Ground::new();
        let path = ground.image("disk", 1 << 20, cluster_size);
        let (image, _) = open(&path).unwrap();
        fill(&image, 0, 1 << 20, 7);
        image.close();
        drop(image);
        super::bad_images::put(&path, 24, &(cut as u64).to_be_bytes());
        let (image, _) = open(&path).unwrap();
        assert_eq!(image.resize(1 << 20), Ok(()));
        let found = read_back(&image, 1 << 20);
        assert!(all(&found[..cut], 7) && all(&found[cut..], 0));
        image.close();
        drop(image);
        check(&path);
    }
}

#[test]
fn a_longer_disk_needs_no_tables_past_the_image_under_it() {
    let ground = Ground::new();
    fs::write(ground.path("base"), vec![0x55; 1 << 20]).unwrap();
    let path = ground.overlay("disk", 1 << 19, 65536, Some(("base", "raw")));
    let (image, _) = open(&path).unwrap();
    assert_eq!(image.resize(1 << 40), Ok(()));
    let found = read_back(&image, 2 << 20);
    assert!(all(&found[..1 << 19], 0x55) && all(&found[1 << 19..], 0));
    assert!(space(&path) < 1 << 20);
    image.close();
    drop(image);
    check(&path);
}

#[test]
fn a_disk_is_used_while_what_is_past_its_new_end_is_freed() {
    let ground = Ground::new();
    let path = ground.image("disk", 32 << 20, 512);
    let (image, _) = open(&path).unwrap();
    fill(&image, 0, 32 << 20, 7);
    image.close();
    drop(image);
    let full = space(&path);
    let mut disk = bench(&path, UNLOCKED);
    disk.put(0, &[8; 4096]);
    assert!(!disk.backend.prepare_resize(64 << 20));
    assert!(disk.backend.prepare_resize(1 << 20));
    while disk.backend.is_preparing_resize() {
        assert_eq!(disk.perform(write(0), &[(0, 4096)]), Ok(()));
        assert_eq!(disk.perform(Operation::Flush, &[]), Ok(()));
        assert_eq!(disk.perform(read(4096), &[(8192, 4096)]), Ok(()));
        assert_eq!(disk.get(8192, 4096), [7; 4096]);
        // It is still there to be written.
        assert_eq!(disk.perform(write(31 << 20), &[(0, 4096)]), Ok(()));
    }
    assert_eq!(disk.backend.length(), 32 << 20);
    assert_eq!(disk.backend.resize(1 << 20), Ok(()));
    assert!(space(&path) + (30 << 20) <= full);
    drop(disk);
    check(&path);
    let (image, _) = open(&path).unwrap();
    let found = read_back(&image, 1 << 20);
    assert!(all(&found[..4096], 8) && all(&found[4096..], 7));
}

#[test]
fn the_end_of_a_disk_does_not_wait_for_all_that_is_to_be_freed() {
    let ground = Ground::new();
    let path = ground.image("disk", 32 << 20, 512);
    let (image, _) = open(&path).unwrap();
    fill(&image, 0, 32 << 20, 7);
    image.close();
    drop(image);
    let mut disk = bench(&path, UNLOCKED);
    assert!(disk.backend.prepare_resize(512));
    disk.backend.close();
    assert!(!disk.backend.is_preparing_resize());
    drop(disk);
    check(&path);
    assert_eq!(open(&path).unwrap().0.length(), 32 << 20);
}
