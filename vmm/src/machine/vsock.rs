//! The vsock device of a machine.

use std::sync::Arc;

use faultvisor_devices::virtio::vsock::VirtioVsock;
use faultvisor_monitor::unix_socket::SocketFile;
use faultvisor_schema::VsockInfo;

/// The device, and its socket's file, which is removed with it.
pub(super) struct MachineVsock {
    pub device: Arc<VirtioVsock>,
    pub file: SocketFile,
}

impl MachineVsock {
    /// Its part of the answer to `query-vsock`.
    pub(super) fn info(&self) -> VsockInfo {
        let statistics = self.device.statistics();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        VsockInfo {
            cid: self.device.cid().get().into(),
            socket: self.file.path().to_string_lossy().into_owned(),
            connections: number(statistics.connections),
            bytes_to_guest: number(statistics.bytes_to_guest),
            bytes_from_guest: number(statistics.bytes_from_guest),
            refused: number(statistics.refused),
            resets: number(statistics.resets),
        }
    }
}
