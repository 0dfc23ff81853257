//! A file tree like a kernel's source: many small files, a few of megabytes, some five thousand directories for eighty
//! thousand files. It is equal at every run.

use std::fs;
use std::io;
use std::path::Path;

use crate::linux::pattern;

const FILES_A_DIRECTORY: u32 = 16;
const DIRECTORIES_A_DIRECTORY: u32 = 24;
/// The median file size, and the spread of its log-normal distribution.
const MEDIAN_BYTES: f64 = 5000.0;
const SIGMA: f64 = 1.5;
const LARGEST_BYTES: f64 = 16e6;

/// Creates that many files in a new directory.
pub fn make(directory: &Path, files: u32) -> io::Result<()> {
    for number in 0..files {
        let leaf = number / FILES_A_DIRECTORY;
        let branch = leaf / DIRECTORIES_A_DIRECTORY;
        let parent = directory.join(format!("branch-{branch}/leaf-{leaf}"));
        if number % FILES_A_DIRECTORY == 0 {
            fs::create_dir_all(&parent)?;
        }
        let contents = pattern(u64::from(number), size(number));
        fs::write(parent.join(format!("file-{number}.c")), contents)?;
    }
    Ok(())
}

/// The size of a file, in bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it lies between nothing and the largest"
)]
fn size(number: u32) -> usize {
    let random = pattern(u64::from(number) | 1 << 32, 16);
    let mut halves = random.chunks_exact(8).map(|bytes| {
        // 32 of the 64 bits suffice, and are exact.
        let bits = bytes
            .iter()
            .take(4)
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0)
    });
    let mut uniform = || halves.next().unwrap_or(0.5);
    // Box and Muller, "A note on the generation of random normal deviates".
    let radius = (-2.0 * uniform().ln()).sqrt();
    let deviate = radius * (std::f64::consts::TAU * uniform()).cos();
    let bytes = MEDIAN_BYTES * (SIGMA * deviate).exp();
    bytes.clamp(0.0, LARGEST_BYTES) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_sizes_resemble_a_kernels_source() {
        let mut sizes: Vec<usize> = (0..80_000).map(size).collect();
        sizes.sort_unstable();
        assert!((4_500..5_500).contains(&sizes[40_000]), "{}", sizes[40_000]);
        let total: usize = sizes.iter().sum();
        assert!((1_100_000_000..1_400_000_000).contains(&total), "{total}");
        assert!(sizes[79_999] > 1_000_000);
    }
}
