//! Sources of entropy.

use std::io;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// A source of entropy. Called on the device's thread.
pub trait EntropySource: Send + 'static {
    /// Fills a buffer.
    ///
    /// # Errors
    ///
    /// The host's error.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()>;
}

/// The host kernel's generator (getrandom(2)).
#[derive(Debug, Clone, Copy, Default)]
pub struct HostEntropy;

impl EntropySource for HostEntropy {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = buffer;
        while !rest.is_empty() {
            // A long read ends early when a signal arrives.
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(count) => rest = rest.split_at_mut(count).1,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
