//! Tells the host that the agent is ready.

use std::io::Read;
use std::time::Duration;

use faultvisor_agent_protocol::READY_PORT;
use faultvisor_agent_protocol::frame::{self, Kind};
use faultvisor_agent_protocol::hello::Hello;

use crate::connection::Connection;

/// How long the host may take to read the hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the hello to the host, if it listens for it.
pub fn tell(hello: &Hello) {
    let Ok(mut host) = Connection::to_host(READY_PORT) else {
        return;
    };
    let _ = host.set_patience(Some(PATIENCE));
    if frame::write_message(&mut host, Kind::Hello, hello).is_ok() {
        let _ = host.finish();
        // It closes when it has read it.
        let _ = host.read(&mut [0]);
    }
}
