//! What a disk with a write cache does.

mod behaviour;
mod cuts;
mod media;
mod medium;
mod model;
mod state;

use super::VolatileCache;
use crate::block::tests::bench::Bench;
use medium::{Control, MemoryMedium};

/// A cache of so many bytes in front of a medium of so many sectors.
fn cache(sectors: usize, capacity: u64, seed: u64) -> Bench<Control> {
    let (medium, control) = MemoryMedium::new(sectors * 512, seed);
    let cache = VolatileCache::new(Box::new(medium), capacity).unwrap();
    Bench::with(Box::new(cache), control)
}
