//! Images that are not what they say.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::ground::{Ground, Told, UNLOCKED, bench, check, open, open_with, perform, read_back};
use crate::block::engine::thread_pool::Medium;
use crate::block::format::qcow2::chain::BackingFiles;
use crate::block::host::image::ImageOptions;
use crate::block::host::locking::Locking;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::{read, write};
use crate::sync::lock;

pub fn put(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

fn get(path: &Path, offset: usize) -> u64 {
    let bytes = fs::read(path).unwrap();
    u64::from_be_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// The error for an image, after its path.
fn refused(path: &Path) -> String {
    let message = open(path).err().expect("it is used").to_string();
    assert!(!message.contains('\n'), "{message}");
    let name = format!("'{}' ", path.display());
    message.strip_prefix(&name).unwrap_or(&message).to_owned()
}

#[test]
fn an_invalid_header_is_refused_with_the_reason() {
    for (offset, bytes, reason) in [
        (0, &b"QFI\xfa"[..], "is not a qcow2 image"),
        (
            4,
            &[0, 0, 0, 4],
            "is of qcow2 version 4, and only 2 and 3 are known",
        ),
        (
            20,
            &[0, 0, 0, 8],
            "has clusters of 2^8 bytes, and 2^9 to 2^21 are possible",
        ),
        (
            20,
            &[255; 4],
            "has clusters of 2^4294967295 bytes, and 2^9 to 2^21 are possible",
        ),
        (
            24,
            &[0x7f; 8],
            "says that it has 9187201950435737471 bytes, which is more than its clusters can lead to",
        ),
        (
            24,
            &[0, 0, 0, 0, 0, 16, 0, 1],
            "has 1048577 bytes for the guest, which is not a multiple of 512",
        ),
        (
            24,
            &[0, 0, 32, 0, 0, 0, 0, 0],
            "has an L1 table that is too small for its size",
        ),
        (32, &[0, 0, 0, 2], "cannot be used: it is encrypted"),
        (
            36,
            &[0x7f; 4],
            "has 17112497144 bytes for its L1 table, which is more than any image needs",
        ),
        (
            36,
            &[0; 4],
            "has an L1 table that is too small for its size",
        ),
        (
            40,
            &[0, 0, 0, 0, 0, 0, 2, 0],
            "has its L1 table at 0x200, where none can be",
        ),
        (40, &[0; 8], "has its L1 table at 0x0, where none can be"),
        (
            40,
            &[255; 8],
            "has its L1 table at 0xffffffffffffffff, where none can be",
        ),
        (
            40,
            &[0, 0, 1, 0, 0, 0, 0, 0],
            "is truncated: it ends before the end of its L1 table",
        ),
        (
            48,
            &[0, 0, 1, 0, 0, 0, 0, 0],
            "is truncated: it ends before the end of its refcount table",
        ),
        (
            56,
            &[0, 0, 255, 0],
            "has 4278190080 bytes for its refcount table, which is more than any image needs",
        ),
        (56, &[0; 4], "has no refcount table"),
        (
            79,
            &[1],
            "cannot be used: it was not closed properly; 'qemu-img check -r all' repairs that",
        ),
        (79, &[2], "cannot be used: it is marked as corrupt"),
        (79, &[4], "cannot be used: its data is in another file"),
        (79, &[8], "cannot be used: its compression is not deflate"),
        (79, &[16], "cannot be used: it has subclusters"),
        (
            72,
            &[1],
            "has incompatible features that are not known: 0x100000000000000",
        ),
        (
            96,
            &[0, 0, 0, 7],
            "has refcounts of 2^7 bits, and 2^6 are the most",
        ),
        (100, &[0, 0, 0, 8], "has a header of 8 bytes"),
        (100, &[255; 4], "has a header of 4294967295 bytes"),
    ] {
        let ground = Ground::new();
        let path = ground.image("disk", 1 << 20, 65536);
        put(&path, offset, bytes);
        assert_eq!(refused(&path), reason, "{bytes:?} at {offset}");
    }
}

#[test]
fn names_of_features_of_no_length_are_refused_in_each_image() {
    let reason = "has an invalid header extension 0x6803f857";
    let ground = Ground::new();
    let spoil = |path: &Path, length: u32| {
        let start = get(path, 100) >> 32;
        put(path, start, &0x6803_f857u32.to_be_bytes());
        put(path, start + 4, &length.to_be_bytes());
    };
    for length in [1, 47, 49, 48 * 3 + 1] {
        let base = ground.image("base", 1 << 20, 65536);
        let top = ground.overlay("top", 1 << 20, 65536, Some(("base", "qcow2")));
        spoil(&base, length);
        assert_eq!(refused(&base), reason, "{length}");
        let above = format!("backing file of '{}': '{}' ", top.display(), base.display());
        assert_eq!(refused(&top), format!("{above}{reason}"), "{length}");
        let top = ground.image("top", 1 << 20, 65536);
        put(&top, 104, &[0; 8]);
        open(&top).unwrap();
        spoil(&top, length);
        assert_eq!(refused(&top), reason, "{length}");
    }
    // It ends after the cluster.
    let path = ground.image("long", 1 << 20, 65536);
    put(&path, 104, &[0, 0, 0, 9, 0, 1, 0, 0]);
    assert_eq!(refused(&path), "has an invalid header extension 0x9");
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 20, 65536);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(65536).unwrap();
    assert!(refused(&path).starts_with("is truncated: it ends before the end of its "));
    for length in [100, 71, 3, 0] {
        file.set_len(length).unwrap();
        let reason = refused(&path);
        let expected = if length < 4 {
            "is not a qcow2 image"
        } else {
            "is truncated: it ends before the end of its header"
        };
        assert_eq!(reason, expected, "{length} bytes");
    }
}

#[test]
fn tables_that_share_a_cluster_or_count_as_free_are_refused() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 20, 65536);
    let (l1, refcounts) = (get(&path, 40), get(&path, 48));
    let at = |offset: u64| offset | 1 << 63;
    put(&path, l1, &at(l1).to_be_bytes());
    assert_eq!(
        refused(&path),
        format!("is corrupt: two of its tables are at {l1:#x}")
    );
    put(&path, l1, &[0; 8]);
    let block = get(&path, usize::try_from(refcounts).unwrap());
    put(&path, block + l1 / 65536 * 2, &[0; 2]);
    assert_eq!(
        refused(&path),
        format!(
            "is corrupt: its L1 table at {l1:#x} counts as free space; 'qemu-img check -r all' repairs that"
        )
    );
    // Whoever only reads gives nothing away.
    let options = ImageOptions {
        access: Access::ReadOnly,
        ..UNLOCKED
    };
    open_with(&path, options, BackingFiles::Follow).unwrap();
}

#[test]
fn an_unusable_backing_file_is_named_with_its_overlay() {
    let ground = Ground::new();
    let refused_over = |name: &str, format: &str| {
        let path = ground.overlay("top", 1 << 20, 65536, Some((name, format)));
        refused(&path)
    };
    let path = |name| ground.path(name).display().to_string();
    assert_eq!(
        refused_over("missing", "raw"),
        format!(
            "backing file of '{}': cannot open '{}': No such file or directory",
            path("top"),
            path("missing")
        )
    );
    assert_eq!(
        refused_over("nbd:localhost:10809", "raw"),
        "has the backing file 'nbd:localhost:10809', which is not a file's name"
    );
    fs::write(ground.path("base"), [0; 512]).unwrap();
    assert_eq!(
        refused_over("base", "vmdk"),
        "has a backing file of the format 'vmdk', and only raw and qcow2 are supported"
    );
    assert_eq!(
        refused_over("base", "qcow2"),
        format!(
            "backing file of '{}': '{}' is not a qcow2 image",
            path("top"),
            path("base")
        )
    );
    let top = ground.overlay("top", 1 << 20, 65536, Some(("base", "raw")));
    let error = open_with(&top, UNLOCKED, BackingFiles::Forbid)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "'{}' has the backing file 'base', and backing=off does not allow one",
            path("top")
        )
    );
    let alone = ground.image("alone", 1 << 20, 65536);
    open_with(&alone, UNLOCKED, BackingFiles::Forbid).unwrap();
}

#[test]
fn a_chain_that_is_a_loop_or_too_long_is_refused() {
    let ground = Ground::new();
    ground.overlay("a", 1 << 20, 65536, Some(("b", "qcow2")));
    ground.overlay("b", 1 << 20, 65536, Some(("a", "qcow2")));
    let own = ground.overlay("own", 1 << 20, 65536, Some(("own", "qcow2")));
    assert_eq!(
        refused(&ground.path("a")),
        "is part of a loop of backing files"
    );
    assert_eq!(refused(&own), "is part of a loop of backing files");
    ground.image("0", 1 << 20, 512);
    for layer in 1..=101 {
        let below = (layer - 1).to_string();
        ground.overlay(&layer.to_string(), 1 << 20, 512, Some((&below, "qcow2")));
    }
    open(&ground.path("100")).unwrap();
    assert_eq!(
        refused(&ground.path("101")),
        "has more than 100 backing files under it"
    );
}

#[test]
fn a_chain_is_locked_so_that_nobody_writes_under_it() {
    let ground = Ground::new();
    fs::write(ground.path("base"), [0; 4096]).unwrap();
    let first = ground.overlay("first", 4096, 65536, Some(("base", "raw")));
    let second = ground.overlay("second", 4096, 65536, Some(("base", "raw")));
    let locked = ImageOptions {
        locking: Locking::On,
        ..UNLOCKED
    };
    let _one = bench(&first, locked);
    // Both read what is under them.
    let _other = bench(&second, locked);
    let message = |path: &Path, access| {
        let options = ImageOptions { access, ..locked };
        let error = crate::block::host::image::Image::open(path, options).err();
        error.map(|error| error.to_string())
    };
    let base = ground.path("base");
    let in_use = |path: &Path| {
        let path = path.display();
        Some(format!(
            "image '{path}' is in use by another process or drive"
        ))
    };
    assert_eq!(message(&base, Access::ReadOnly), None);
    assert_eq!(message(&base, Access::ReadWrite), in_use(&base));
}

/// An image with a cluster of data, and the places of its tables: the entry of that cluster in its
/// table, which is where.
fn with_data(ground: &Ground) -> (std::path::PathBuf, u64) {
    let path = ground.image("disk", 1 << 20, 65536);
    let (image, _) = open(&path).unwrap();
    assert_eq!(perform(&image, write(0), 65536, 7), Ok(()));
    image.close();
    drop(image);
    let l2 = get(&path, usize::try_from(get(&path, 40)).unwrap()) & 0x00ff_ffff_ffff_fe00;
    (path, l2)
}

fn told(told: &Told) -> Vec<(String, Option<u64>, bool)> {
    let told = lock(&told.0);
    let of = |corruption: &super::super::corruption::Corruption| {
        (
            corruption.message.clone(),
            corruption.offset,
            corruption.fatal,
        )
    };
    told.iter().map(of).collect()
}

#[test]
fn a_write_that_would_destroy_a_table_ends_the_use_of_the_image() {
    let ground = Ground::new();
    let (path, l2) = with_data(&ground);
    put(&path, l2, &(get(&path, 40) | 1 << 63).to_be_bytes());
    let before = fs::read(&path).unwrap();
    let (image, seen) = open(&path).unwrap();
    assert_eq!(perform(&image, read(65536), 512, 0), Ok(()));
    assert_eq!(perform(&image, write(0), 512, 9), Err(Errno::EIO));
    let l1 = get(&path, 40);
    assert_eq!(
        told(&seen),
        [(
            "a write would destroy the L1 table".to_owned(),
            Some(l1),
            true
        )]
    );
    for operation in [read(0), write(65536), Operation::Flush] {
        let result = perform(&image, operation, 512, 9);
        assert_eq!(result, Err(Errno(libc::ENOMEDIUM)));
    }
    drop(image);
    let after = fs::read(&path).unwrap();
    assert!(before[80..] == after[80..]);
    assert_eq!(refused(&path), "cannot be used: it is marked as corrupt");
}

#[test]
fn an_invalid_entry_is_reported() {
    let ground = Ground::new();
    let (path, l2) = with_data(&ground);
    put(&path, l2, &(1u64 << 63 | 0x1_0200).to_be_bytes());
    let only_read = ImageOptions {
        access: Access::ReadOnly,
        ..UNLOCKED
    };
    let (image, seen) = open_with(&path, only_read, BackingFiles::Follow).unwrap();
    for _ in 0..3 {
        assert_eq!(perform(&image, read(0), 512, 0), Err(Errno::EIO));
    }
    let found = told(&seen);
    assert_eq!((found.len(), found[0].2), (1, false), "{found:?}");
    drop(image);
    let (image, seen) = open(&path).unwrap();
    assert_eq!(perform(&image, read(0), 512, 0), Err(Errno::EIO));
    assert_eq!(
        perform(&image, read(0), 512, 0),
        Err(Errno(libc::ENOMEDIUM))
    );
    assert!(told(&seen)[0].2);
}

#[test]
fn a_table_past_the_end_of_the_file_is_an_error_and_not_zeroes() {
    let ground = Ground::new();
    let (path, l2) = with_data(&ground);
    put(&path, l2, &(1u64 << 63 | 0x1000_0000).to_be_bytes());
    let (image, _) = open(&path).unwrap();
    assert_eq!(perform(&image, read(0), 512, 0), Err(Errno::EIO));
    assert_eq!(perform(&image, read(65536), 512, 0), Ok(()));
}

#[test]
fn a_new_table_is_not_known_before_it_is_counted() {
    let ground = Ground::new();
    let path = ground.image("disk", 64 << 20, 4096);
    let (image, _) = open(&path).unwrap();
    let l1 = usize::try_from(get(&path, 40)).unwrap();
    let known = || {
        (0..32)
            .filter(|entry| get(&path, l1 + entry * 8) != 0)
            .count()
    };
    assert_eq!(perform(&image, write(2 << 20), 512, 1), Ok(()));
    assert_eq!(perform(&image, write(4 << 20), 512, 1), Ok(()));
    assert_eq!(known(), 0);
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    assert_eq!(known(), 2);
    let durable = Operation::Write {
        offset: 8 << 20,
        durability: Durability::Durable,
    };
    assert_eq!(perform(&image, durable, 512, 1), Ok(()));
    assert_eq!(known(), 3);
}

/// As when the program is killed: what it has in memory is gone.
#[test]
fn an_image_that_was_not_closed_is_whole_and_has_what_was_flushed() {
    let ground = Ground::new();
    let path = ground.image("disk", 64 << 20, 4096);
    let (image, _) = open(&path).unwrap();
    for round in 0..24u64 {
        // Each in the range of another table, and in one that there is.
        for offset in [round << 21, (round << 21) + 65536, 8192 * round] {
            assert_eq!(perform(&image, write(offset), 8192, 1), Ok(()));
        }
        if round % 5 == 0 {
            assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
        }
        let copy = ground.path("copy");
        fs::copy(&path, &copy).unwrap();
        check(&copy);
        let (again, _) = open(&copy).unwrap();
        assert_eq!(perform(&again, write(32 << 20), 65536, 2), Ok(()));
        again.close();
        drop(again);
        check(&copy);
    }
}

/// What a request of any kind may end in.
fn use_all(path: &Path) {
    let Ok((image, _)) = open(path) else {
        return;
    };
    let ranges = vec![Range {
        offset: 4096,
        length: 65536,
    }];
    for offset in (0..256 << 10).step_by(16 << 10) {
        let _ = perform(&image, read(offset), 16 << 10, 0);
    }
    let durability = Durability::Durable;
    let _ = perform(
        &image,
        Operation::Write {
            offset: 512,
            durability,
        },
        4096,
        1,
    );
    let _ = perform(&image, write(60 << 10), 40 << 10, 2);
    let zeroing = Zeroing::MayUnmap;
    let zeroes = Operation::WriteZeroes {
        ranges: ranges.clone(),
        zeroing,
        durability,
    };
    let _ = perform(&image, zeroes, 0, 0);
    let _ = perform(&image, Operation::Discard { ranges }, 0, 0);
    let _ = perform(&image, write(100 << 10), 100 << 10, 3);
    let _ = perform(&image, Operation::Flush, 0, 0);
    let _ = image.resize(1 << 20);
    image.close();
}

#[test]
fn no_damage_to_an_image_ends_the_program() {
    let ground = Ground::new();
    let whole = ground.image("whole", 256 << 10, 4096);
    let (image, _) = open(&whole).unwrap();
    assert_eq!(perform(&image, write(0), 80 << 10, 7), Ok(()));
    image.close();
    drop(image);
    let bytes = fs::read(&whole).unwrap();
    let tables = [0, get(&whole, 40), get(&whole, 48)];
    let l2 = get(&whole, usize::try_from(tables[1]).unwrap()) & 0x00ff_ffff_ffff_fe00;
    let block = get(&whole, usize::try_from(tables[2]).unwrap());
    let places: Vec<usize> = [tables[0], tables[1], tables[2], l2, block]
        .into_iter()
        .map(|place| usize::try_from(place).unwrap())
        .collect();
    let place = (proptest::sample::select(places), 0..128usize);
    let value = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80), Just(1)];
    let damage = vec((place, value, 1..9usize), 1..4);
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let path = ground.path("damaged");
    proptest!(config, |(damage in damage, cut in prop_oneof![9 => Just(None), 1 => (0..bytes.len()).prop_map(Some)])| {
        let mut damaged = bytes.clone();
        for ((table, at), value, count) in damage {
            let start = (table + at).min(damaged.len() - 1);
            let end = (start + count).min(damaged.len());
            damaged[start..end].fill(value);
        }
        damaged.truncate(cut.unwrap_or(damaged.len()));
        fs::write(&path, &damaged).unwrap();
        use_all(&path);
    });
}

#[test]
fn a_damaged_table_is_cut_off_and_what_it_led_to_by_mistake_is_left_alone() {
    let ground = Ground::new();
    // A table of the second level leads to 32 KiB.
    let path = ground.image("disk", 128 << 10, 512);
    let (image, _) = open(&path).unwrap();
    assert_eq!(perform(&image, write(0), 128 << 10, 7), Ok(()));
    image.close();
    drop(image);
    let l1 = get(&path, 40);
    let second = usize::try_from(l1).unwrap() + 8;
    let l2 = get(&path, second) & 0x00ff_ffff_ffff_fe00;
    for (index, entry) in [1 << 63 | 0x1_0001, u64::MAX, 1 << 63 | l1, 1 << 63]
        .into_iter()
        .enumerate()
    {
        put(&path, l2 + 8 * index as u64, &entry.to_be_bytes());
    }
    let (image, _) = open(&path).unwrap();
    assert_eq!(image.resize(32 << 10), Ok(()));
    assert_eq!(image.resize(128 << 10), Ok(()));
    let bytes = read_back(&image, 128 << 10);
    assert!(bytes[..32 << 10].iter().all(|byte| *byte == 7));
    assert!(bytes[32 << 10..].iter().all(|byte| *byte == 0));
    image.close();
    drop(image);
    check(&path);
}

#[test]
fn corruption_of_a_backing_file_does_not_mark_its_overlay() {
    let ground = Ground::new();
    let (base, l2) = with_data(&ground);
    put(&base, l2 + 8, &(1u64 << 63 | 0x1_0200).to_be_bytes());
    let name = base.file_name().unwrap().to_str().unwrap();
    let middle = ground.overlay("middle", 1 << 20, 65536, Some((name, "qcow2")));
    let top = ground.overlay("top", 1 << 20, 65536, Some(("middle", "qcow2")));
    let before = (fs::read(&base).unwrap(), fs::read(&middle).unwrap());
    let (image, seen) = open(&top).unwrap();
    for operation in [read(65536), write(65536 + 512), read(131_072 - 512)] {
        let name = format!("{operation:?}");
        assert_eq!(
            perform(&image, operation, 512, 9),
            Err(Errno::EIO),
            "{name}"
        );
    }
    let found: Vec<_> = lock(&seen.0).iter().map(|c| (c.depth, c.fatal)).collect();
    assert_eq!(found, [(2, false)]);
    // What is not there does not matter to who writes all of it.
    assert_eq!(perform(&image, write(65536), 65536, 9), Ok(()));
    assert_eq!(perform(&image, read(65536), 512, 0), Ok(()));
    assert_eq!(perform(&image, Operation::Flush, 0, 0), Ok(()));
    image.close();
    drop(image);
    assert!(before == (fs::read(&base).unwrap(), fs::read(&middle).unwrap()));
    let (image, _) = open(&top).unwrap();
    assert_eq!(perform(&image, read(65536), 512, 0), Ok(()));
}

#[test]
fn a_refcount_past_all_offsets_counts_for_nothing() {
    let ground = Ground::new();
    let path = ground.image("disk", 1 << 20, 4096);
    // In the middle of what the second block counts: 2048 clusters each.
    let l2 = (2048 + 512) << 12;
    put(&path, get(&path, 40), &(1u64 << 63 | l2).to_be_bytes());
    put(&path, get(&path, 48) + 8, &[0xff; 8]);
    assert_eq!(
        refused(&path),
        "is corrupt: its L2 table at 0xa00000 counts as free space; 'qemu-img check -r all' \
         repairs that"
    );
}
