//! The kinds of threads.

/// A thread's purpose, which determines what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The run state, commands, console input. It starts the vCPUs' threads again at a reset, which therefore may do
    /// nothing that it may not.
    Main,
    /// The monitor's clients.
    Monitor,
    /// Copies between standard input or output and the monitor.
    Stdio,
    /// One vCPU.
    Vcpu,
    /// One disk's requests. It starts the threads for the disk's blocking I/O.
    Disk,
    /// A disk's blocking I/O.
    DiskIo,
    /// An entropy device's queue.
    Rng,
    /// The connections of the vsock device, which it makes to listeners of the host.
    Vsock,
    /// Writes console output.
    Console,
    /// Writes the log.
    Log,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Main,
        Self::Monitor,
        Self::Stdio,
        Self::Vcpu,
        Self::Disk,
        Self::DiskIo,
        Self::Rng,
        Self::Vsock,
        Self::Console,
        Self::Log,
    ];
}

impl From<faultvisor_devices::thread::ThreadKind> for Kind {
    fn from(kind: faultvisor_devices::thread::ThreadKind) -> Self {
        use faultvisor_devices::thread::ThreadKind;
        match kind {
            ThreadKind::Disk => Self::Disk,
            ThreadKind::DiskIo => Self::DiskIo,
            ThreadKind::Rng => Self::Rng,
            ThreadKind::Vsock => Self::Vsock,
            ThreadKind::Console => Self::Console,
        }
    }
}

impl From<faultvisor_monitor::ThreadKind> for Kind {
    fn from(kind: faultvisor_monitor::ThreadKind) -> Self {
        use faultvisor_monitor::ThreadKind;
        match kind {
            ThreadKind::Server => Self::Monitor,
            ThreadKind::Stdio => Self::Stdio,
        }
    }
}
