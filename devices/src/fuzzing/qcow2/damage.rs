//! Valid images, and damage to them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};

use super::{Examination, Layout, Maker, SECTOR, Stamp};
use crate::fuzzing::Choices;

/// Sectors of the shared backing file.
const BELOW_SECTORS: usize = 24;

/// A number for every sector of a cluster.
fn data(kind: u64, cluster: usize, size: usize) -> Vec<u8> {
    let first = cluster * size / SECTOR;
    (first..first + size / SECTOR)
        .flat_map(|sector| {
            let stamp = kind << 56 | (sector as u64 + 1);
            stamp.to_le_bytes().repeat(SECTOR / 8)
        })
        .collect()
}

/// The path of the raw backing file that all images share.
pub fn path_below() -> &'static str {
    static BELOW: OnceLock<(File, String)> = OnceLock::new();
    let (_, path) = BELOW.get_or_init(|| {
        let mut file = File::from(memfd_create("below", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(&data(9, 0, BELOW_SECTORS * SECTOR)).unwrap();
        // Of fixed length, so that an input has the same meaning each time.
        let path = format!("/proc/self/fd/{:05}", file.as_raw_fd());
        let path = match std::fs::metadata(&path) {
            Ok(_) => path,
            Err(_) => format!("/proc/self/fd/{}", file.as_raw_fd()),
        };
        (file, path)
    });
    path
}

/// Its contents.
pub fn content_below() -> Vec<Stamp> {
    (0..BELOW_SECTORS as u64)
        .map(|sector| 9 << 56 | (sector + 1))
        .collect()
}

/// An image without errors.
pub fn good(kind: u8, choices: &mut Choices<'_>) -> Vec<u8> {
    let (bits, shape, counts) = (choices.byte(), choices.byte(), choices.byte());
    let version = if kind & 1 == 0 { 3 } else { 2 };
    let cluster_bits = [9, 9, 10, 12, 16][usize::from(bits % 5)];
    let snapshots = counts % 3;
    let order = [4, 0, 1, 2, 3, 5, 6][usize::from(counts / 3 % 7)];
    let layout = Layout {
        version,
        cluster_bits,
        refcount_order: match (version, snapshots) {
            (2, _) => 4,
            // Compressed clusters share a host cluster, and each snapshot adds references.
            (_, 1..) if kind & 2 != 0 => order.max(3),
            // A narrower refcount does not count that many.
            (_, 1..) if order < 2 => 2,
            _ if kind & 2 != 0 && order > 0 => order.max(3),
            _ => order,
        },
        size: (1 + u64::from(shape)) * 8 * 512,
    };
    let mut maker = Maker::new(layout);
    if kind & 4 != 0 {
        maker = maker.over(path_below(), "raw");
    }
    let size = layout.cluster_size();
    let clusters = usize::try_from(layout.size).unwrap().div_ceil(size);
    for generation in 0..=snapshots {
        for cluster in 0..clusters.min(8) {
            match choices.below(8) {
                0..=2 => {}
                3 | 4 => maker.data(cluster, &data(1 + u64::from(generation), cluster, size)),
                5 if kind & 2 != 0 => {
                    maker.compressed(cluster, &data(8, cluster, SECTOR).repeat(size / SECTOR));
                }
                kind if version == 3 => maker.zero(cluster, kind == 6),
                _ => {}
            }
        }
        if generation < snapshots {
            maker.snapshot();
        }
    }
    maker.finish()
}

/// Changes a few fields of an image. Returns whether any changed.
pub fn some(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) -> bool {
    let count = choices.below(6);
    if count == 0 {
        return false;
    }
    let places = Examination::new(bytes).unwrap().tables();
    let place = |choices: &mut Choices<'_>| {
        let index = usize::from(choices.byte()) % places.len();
        usize::try_from(places[index]).unwrap()
    };
    for _ in 0..count {
        let start = place(choices);
        // Header fields have four bytes.
        let unit = if start == 0 { 4 } else { 8 };
        let at = start + usize::from(choices.byte()) % 64 * unit;
        let Some(field) = bytes.get(at..at + 8) else {
            continue;
        };
        let mut value = u64::from_be_bytes(field.try_into().unwrap());
        value = match choices.below(10) {
            0 => value ^ 1 << choices.below(64),
            1 => 0,
            2 => u64::MAX,
            3 => place(choices) as u64 | 1 << 63,
            4 => place(choices) as u64,
            5 => value ^ 1 << 63,
            6 => u64::from(choices.word()),
            7 => u64::from(choices.word()) << 32,
            8 => value.wrapping_add(u64::from(choices.byte()) * 512),
            _ => choices.quad(),
        };
        bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
    }
    if choices.below(16) == 0 {
        let length = usize::from(choices.word());
        bytes.truncate(length);
    }
    true
}
