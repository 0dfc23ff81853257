//! What is asked of an image.

use super::machine::Image;
use super::medium::Dice;
use crate::block::model::request::{Durability, Zeroing};
use crate::fuzzing::qcow2::{Ask, SECTOR};

const CACHED: Durability = Durability::Cached;
const DURABLE: Durability = Durability::Durable;

/// Each kind of request on each kind of cluster, so that space that becomes free is used again.
pub fn requests(image: &Image) -> Vec<Ask> {
    let (per_cluster, last) = clusters(image);
    let at = |cluster: usize| cluster * per_cluster;
    vec![
        // A part of a cluster that a snapshot may have, and whole ones.
        Ask::Write(at(0) + per_cluster / 2, 1, CACHED),
        Ask::Write(at(1), 2 * per_cluster, CACHED),
        Ask::Write(at(9), per_cluster + 1, CACHED),
        Ask::Write(at(last), 1, CACHED),
        Ask::Flush,
        // Compressed ones.
        Ask::Write(at(5), 1, CACHED),
        Ask::Discard(at(1), 2 * per_cluster),
        Ask::Write(at(11), 3 * per_cluster, CACHED),
        Ask::Zero(at(3), 2 * per_cluster, Zeroing::MayUnmap),
        Ask::Zero(at(0), per_cluster, Zeroing::KeepSpace),
        Ask::Write(at(3), 1, DURABLE),
        Ask::Discard(at(last), per_cluster),
        Ask::Discard(at(5), 3 * per_cluster),
        Ask::Write(at(6), per_cluster, CACHED),
        Ask::Write(at(14), 2 * per_cluster, CACHED),
        Ask::Flush,
        Ask::Discard(at(9), per_cluster),
        Ask::Write(at(1), 2 * per_cluster, CACHED),
        Ask::Flush,
    ]
}

/// Writes until the file is much longer.
pub fn much() -> Vec<Ask> {
    let write = |index: usize| Ask::Write(16 + index * 96, 96, CACHED);
    let mut asks: Vec<_> = (0..6).map(write).collect();
    asks.push(Ask::Flush);
    asks
}

/// The disk gets longer, shorter where it can, and longer again.
pub fn resizing(image: &Image) -> Vec<Ask> {
    let (per_cluster, last) = clusters(image);
    let at = |cluster: usize| cluster * per_cluster;
    vec![
        Ask::Write(at(9), per_cluster + 1, CACHED),
        Ask::Resize(at(last + 6)),
        Ask::Write(at(last), 3 * per_cluster, CACHED),
        Ask::Write(at(0), 1, CACHED),
        // An odd part of a cluster is left.
        Ask::Resize(at(10) - per_cluster.div_ceil(3)),
        Ask::Write(at(7), 2 * per_cluster, CACHED),
        Ask::Resize(at(16)),
        Ask::Write(at(12), per_cluster, CACHED),
        Ask::Discard(at(9), per_cluster),
        Ask::Flush,
    ]
}

/// Sectors of a cluster, and the last cluster, whose table of the second level is another where
/// there are several.
fn clusters(image: &Image) -> (usize, usize) {
    let per_cluster = image.layout.cluster_size() / SECTOR;
    let sectors = usize::try_from(image.layout.size).unwrap() / SECTOR;
    (per_cluster, sectors / per_cluster - 1)
}

/// Anything.
pub fn random(image: &Image, dice: &mut Dice, length: usize) -> Vec<Ask> {
    let per_cluster = image.layout.cluster_size() / SECTOR;
    let mut size = usize::try_from(image.layout.size).unwrap() / SECTOR;
    let mut below = move |below: usize| usize::try_from(dice.below(below as u64)).unwrap();
    let mut asks = Vec::new();
    for _ in 0..length {
        let start = match below(2) {
            0 => below(size),
            _ => below(size.div_ceil(per_cluster)) * per_cluster,
        };
        let count = match below(2) {
            0 => 1 + below(2 * per_cluster),
            _ => (1 + below(6)) * per_cluster,
        };
        // As much as a request's memory here.
        let count = count.min(size - start).min(2048);
        asks.push(match below(16) {
            0..=6 => Ask::Write(start, count, CACHED),
            7 => Ask::Write(start, count, DURABLE),
            8..=9 => Ask::Discard(start, count),
            10 => Ask::Zero(start, count, Zeroing::MayUnmap),
            11 => Ask::Zero(start, count, Zeroing::KeepSpace),
            12..=13 => Ask::Flush,
            _ => {
                let cluster = 1 + below(2 * size / per_cluster);
                let other = cluster.clamp(2, 4096) * per_cluster - below(2);
                if other < size && image.snapshots > 0 {
                    continue;
                }
                size = other;
                Ask::Resize(other)
            }
        });
    }
    asks
}
