//! Interrupt lines, as a device sees them.

use std::io;

use vmm_sys_util::eventfd::EventFd;

/// One edge-triggered interrupt line.
pub trait InterruptLine: Send + Sync {
    /// Raises the line once.
    ///
    /// # Errors
    ///
    /// The host's error.
    fn raise(&self) -> io::Result<()>;
}

/// An eventfd that KVM turns into an edge on an interrupt line (KVM API §4.75, `KVM_IRQFD`).
impl InterruptLine for EventFd {
    fn raise(&self) -> io::Result<()> {
        self.write(1)
    }
}
