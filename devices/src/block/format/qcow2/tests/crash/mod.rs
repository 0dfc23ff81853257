//! What is left of an image by a crash after each of the host's writes.
//!
//! A script of requests is performed once, on a small image, and what it does to the image's file
//! is recorded. Then the file is rebuilt, change by change, and looked at after each: as it is when
//! the program is killed there, and, in a sample, as it may be when the host loses power there.

mod machine;
mod medium;
mod recorder;
mod scripts;

use crate::block::host::direct_io::CacheMode;
use crate::fuzzing::qcow2::Layout;
use machine::{Backing, Image, Machine};
use medium::Dice;

/// How many scripts that are made up are performed on each image, beside the others.
const RANDOM_SCRIPTS: &str = "FAULTVISOR_CRASH_SCRIPTS";

/// Whether all is done that can be.
fn is_at_length() -> bool {
    std::env::var_os(RANDOM_SCRIPTS).is_some()
}

/// All images of a cluster size that the format allows, out of these.
fn images(cluster_bits: u32, size: u64) -> Vec<Image> {
    let mut images = Vec::new();
    // Version 2 has refcounts of 16 bits.
    for (version, refcount_order) in [(2, 4), (3, 0), (3, 3), (3, 4), (3, 6)] {
        for snapshots in 0..3 {
            for backing in [Backing::None, Backing::Raw, Backing::Qcow2] {
                for is_compressed in [false, true] {
                    // One bit does not count two.
                    if refcount_order == 0 && snapshots > 0 {
                        continue;
                    }
                    images.push(Image {
                        layout: Layout {
                            version,
                            cluster_bits,
                            refcount_order,
                            size,
                        },
                        snapshots,
                        backing,
                        is_compressed,
                        filled: 0,
                    });
                }
            }
        }
    }
    images
}

/// Performs every script on each of these images, and crashes.
fn survive(images: &[Image], cache: CacheMode) {
    let random = std::env::var(RANDOM_SCRIPTS).map_or(0, |count| count.parse().unwrap());
    let mut failures = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let machine = Machine::new(image, cache);
        for script in [scripts::requests(image), scripts::resizing(image)] {
            failures.extend(machine.crash_everywhere(&script).failures);
        }
        for script in 0..random {
            let mut dice = Dice::new((number as u64) << 32 | script);
            let script = scripts::random(image, &mut dice, 40);
            failures.extend(machine.crash_everywhere(&script).failures);
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures on {} images:\n{}",
        failures.len(),
        images.len(),
        failures.join("\n")
    );
}

#[test]
fn images_of_512_byte_clusters_survive_a_crash_after_each_write() {
    survive(&images(9, 128 << 10), CacheMode::Writeback);
}

#[test]
fn images_of_4_kib_clusters_survive_a_crash_after_each_write() {
    survive(&images(12, 2304 << 10), CacheMode::Writeback);
}

#[test]
fn images_of_64_kib_clusters_survive_a_crash_after_each_write() {
    let mut images = images(16, 1152 << 10);
    if !is_at_length() {
        // The widths of refcounts have all been seen with smaller clusters, which take less time.
        images.retain(|image| image.layout.refcount_order == 4);
    }
    survive(&images, CacheMode::Writeback);
}

#[test]
fn images_that_never_wait_for_the_medium_survive_the_end_of_the_program_after_each_write() {
    survive(&images(12, 2304 << 10), CacheMode::Unsafe);
}

#[test]
fn images_past_the_page_cache_survive_a_crash_after_each_write() {
    let mut images = images(12, 2304 << 10);
    images.retain(|image| image.layout.refcount_order == 4 && image.backing != Backing::Qcow2);
    survive(&images, CacheMode::None);
}

#[test]
fn a_longer_refcount_table_survives_a_crash_after_each_write() {
    // With refcounts of 64 bits the first table of one cluster counts 2 MiB of the file.
    let image = Image {
        layout: Layout {
            version: 3,
            cluster_bits: 9,
            refcount_order: 6,
            size: 2304 << 10,
        },
        snapshots: 0,
        backing: Backing::None,
        is_compressed: false,
        filled: 3750,
    };
    for snapshots in 0..2 {
        let image = Image { snapshots, ..image };
        let machine = Machine::new(&image, CacheMode::Writeback);
        let outcome = machine.crash_everywhere(&scripts::much());
        assert!(
            outcome.failures.is_empty(),
            "{}",
            outcome.failures.join("\n")
        );
        // Clusters of the refcount table.
        assert!(outcome.file[56..60] > [0, 0, 0, 1][..], "it is not longer");
    }
}
