//! What is left of an image when the program is killed.

use std::fs;
use std::path::Path;

use super::ground::{Ground, check, open, perform, qemu_img};
use crate::block::engine::thread_pool::Medium;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};
use crate::block::tests::bench::write;

const SIZE: u64 = 1 << 20;

/// What a snapshot of an image reads as.
fn snapshot(path: &Path, name: &str) -> Vec<u8> {
    let raw = path.with_extension(name);
    let (image, out) = (path.to_str().unwrap(), raw.to_str().unwrap());
    let with = ["convert", "-U", "-l", name, "-O", "raw", image, out];
    assert!(qemu_img(&with));
    fs::read(raw).unwrap()
}

/// An image with two snapshots, with different content in each.
fn with_snapshots(ground: &Ground, cluster_size: &str, is_compressed: bool) -> Option<String> {
    let bytes: Vec<u8> = (0..SIZE)
        .map(|at| (at >> 9).to_le_bytes()[0] ^ 0x55)
        .collect();
    fs::write(ground.path("base"), bytes).unwrap();
    let [path, base] = ["disk", "base"].map(|name| ground.path(name).display().to_string());
    let options = format!("cluster_size={cluster_size},refcount_bits=16");
    let made = if is_compressed {
        let with = [
            "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &options, &base, &path,
        ];
        qemu_img(&with)
    } else {
        let with = [
            "create", "-q", "-f", "qcow2", "-o", &options, "-b", &base, "-F", "raw", &path,
        ];
        qemu_img(&with)
    };
    if !made {
        return None;
    }
    for (name, offset) in [("s0", 0), ("s1", SIZE / 4)] {
        let (image, _) = open(path.as_ref()).unwrap();
        assert_eq!(
            perform(&image, write(offset), 1 << 18, name.as_bytes()[1]),
            Ok(())
        );
        image.close();
        drop(image);
        assert!(qemu_img(&["snapshot", "-c", name, &path]));
    }
    Some(path)
}

#[test]
fn a_program_that_is_killed_leaves_snapshots_as_they_were() {
    for (cluster_size, is_compressed) in [("512", false), ("4k", true), ("64k", false)] {
        let ground = Ground::new();
        let Some(path) = with_snapshots(&ground, cluster_size, is_compressed) else {
            return;
        };
        let path = Path::new(&path);
        let before = ["s0", "s1"].map(|name| snapshot(path, name));
        let (image, _) = open(path).unwrap();
        let ranges = |offset, length| vec![Range { offset, length }];
        let durable = Operation::Write {
            offset: 700 << 10,
            durability: Durability::Durable,
        };
        let zeroes = |offset, zeroing| Operation::WriteZeroes {
            ranges: ranges(offset, 128 << 10),
            zeroing,
            durability: Durability::Cached,
        };
        let discard = |offset| Operation::Discard {
            ranges: ranges(offset, 128 << 10),
        };
        for (operation, length) in [
            (write(1024), 512),
            (write(300 << 10), 70 << 10),
            (discard(256 << 10), 0),
            (write(64 << 10), 128 << 10),
            (Operation::Flush, 0),
            (zeroes(512 << 10, Zeroing::MayUnmap), 0),
            (zeroes(128 << 10, Zeroing::KeepSpace), 0),
            (write(200 << 10), 4096),
            (durable, 8192),
            (discard(0), 0),
            (write(0), 256 << 10),
            (Operation::Flush, 0),
        ] {
            let name = format!("{cluster_size} {operation:?}");
            assert_eq!(perform(&image, operation, length, 0x99), Ok(()), "{name}");
            // What a killed program leaves; and the next one, which comes to its end.
            let copy = ground.path("copy");
            fs::copy(path, &copy).unwrap();
            check(&copy);
            let (again, _) = open(&copy).unwrap();
            assert_eq!(perform(&again, write(0), 1 << 20, 0xaa), Ok(()));
            again.close();
            drop(again);
            check(&copy);
            for (name, before) in ["s0", "s1"].iter().zip(&before) {
                assert!(snapshot(&copy, name) == *before, "{cluster_size}: {name}");
            }
        }
        image.close();
        drop(image);
        // Nothing is leaked in the end.
        assert!(qemu_img(&["check", path.to_str().unwrap()]));
    }
}

#[test]
fn a_disk_that_gets_longer_is_whole_whenever_the_program_is_killed() {
    let ground = Ground::new();
    let path = ground.image("disk", 64 << 20, 4096);
    let (image, _) = open(&path).unwrap();
    for length in [1 << 32, 1 << 40] {
        assert_eq!(perform(&image, write(0), 8192, 1), Ok(()));
        assert_eq!(image.resize(length), Ok(()));
        let copy = ground.path("copy");
        fs::copy(&path, &copy).unwrap();
        check(&copy);
        let (again, _) = open(&copy).unwrap();
        assert_eq!(again.length(), length);
    }
}
