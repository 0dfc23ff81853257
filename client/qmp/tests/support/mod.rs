//! Test servers, and the program.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Each test program uses a part of it.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

mod program;
mod pty;
mod relay;
mod scripted;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use faultvisor_monitor::{ListenAddress, Machine, Monitor, MonitorHandle, Reply};
use faultvisor_schema::{
    BlockErrorAction, BlockIoError, CommandError, ErrorClass, Event, IoOperationType,
    MachineCommand, MachineReturn,
};
use serde_json::json;
use tempfile::TempDir;

pub use program::{Ended, Program, qmp, wait};
pub use pty::Pty;
pub use relay::Relay;
pub use scripted::{GREETING, serve_one};

/// The time after which a test gives up. No test depends on it otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A machine with disks only.
struct Disks {
    /// Receives the reply of each `stop`, which is not answered.
    stopping: Sender<Reply>,
}

impl Machine for Disks {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        let name = command.name();
        if name == "stop" {
            self.stopping.send(reply).unwrap();
            return;
        }
        let answer = match name {
            "query-status" => json!({"running": true, "status": "running"}),
            "query-block" => json!([disk("disk0"), disk("disk1")]),
            "block-fault-add" => json!({"id": "rule-1", "seed": 7}),
            "cont" | "system_reset" => json!({}),
            _ => {
                let error = CommandError::new(ErrorClass::DeviceNotFound, "Device 'x' not found");
                return reply.send(Err(error));
            }
        };
        reply.send(MachineReturn::decode(name, answer));
    }

    fn answer(&self, _: &MachineCommand) -> Option<MachineReturn> {
        None
    }

    fn has_device(&self, name: &str) -> bool {
        name.starts_with("disk")
    }

    fn is_current(&self, _: &Event) -> bool {
        true
    }
}

fn disk(name: &str) -> serde_json::Value {
    json!({"device": name, "type": "unknown", "removable": false, "locked": false})
}

/// A monitor on a unix socket.
pub struct Server {
    handle: Option<MonitorHandle>,
    /// The replies of `stop`. One that is held is not answered.
    pub stopping: Receiver<Reply>,
    path: PathBuf,
    pub directory: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let address: ListenAddress = format!("unix:{}", path.display()).parse().unwrap();
        let monitor = Monitor::builder().bind(&[address]).unwrap();
        let (sender, stopping) = channel();
        let disks = Disks { stopping: sender };
        Self {
            handle: Some(monitor.start(Box::new(disks)).unwrap()),
            stopping,
            path,
            directory,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn raise(&self, event: Event) {
        self.handle.as_ref().unwrap().signals().raise(event);
    }

    /// Ends the server, and every connection.
    pub fn end(&mut self) {
        drop(self.handle.take());
    }

    /// Runs the program with a command line for this server.
    pub fn qmp(&self, arguments: &[&str]) -> Ended {
        Program::start(self.path(), arguments).ended()
    }
}

pub fn io_error(device: &str, reason: &str) -> Event {
    Event::BlockIoError(BlockIoError {
        qom_path: format!("/machine/peripheral/{device}"),
        device: device.to_owned(),
        node_name: Some(device.to_owned()),
        operation: IoOperationType::Write,
        action: BlockErrorAction::Stop,
        nospace: Some(true),
        reason: reason.to_owned(),
    })
}
