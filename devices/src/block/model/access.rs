//! Whether a guest may write to a disk.

/// Whether the guest may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and writes.
    #[default]
    ReadWrite,
    /// Writes are refused, by the device and by the host.
    ReadOnly,
}
