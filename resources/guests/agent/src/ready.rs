//! Tells the host that the agent is ready.

use std::io::Read;
use std::time::Duration;

use faultvisor_agent_protocol::READY_PORT;
use faultvisor_agent_protocol::frame::{self, Kind};
use faultvisor_agent_protocol::hello::Hello;
use rustix::io::Errno;

use crate::connection::Connection;
use crate::kernel_log;

/// How long the host may take to read the hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the hello to the host, if it listens for it.
pub fn tell(hello: &Hello) {
    let mut host = match Connection::to_host(READY_PORT) {
        Ok(host) => host,
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
            let missing = "the guest has no vsock device, or its driver (vmw_vsock_virtio_transport) is not loaded";
            return kernel_log::say(missing);
        }
        // The host does not care.
        Err(_) => return,
    };
    let _ = host.set_patience(Some(PATIENCE));
    if frame::write_message(&mut host, Kind::Hello, hello).is_ok() {
        let _ = host.finish();
        // It closes when it has read it.
        let _ = host.read(&mut [0]);
    }
}
