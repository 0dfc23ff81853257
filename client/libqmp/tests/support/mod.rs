//! Servers for the client's tests: a monitor in this process, and scripted ones.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use faultvisor_monitor::{ListenAddress, Machine, Monitor, MonitorHandle, Reply};
use faultvisor_schema::{
    BlockErrorAction, BlockIoError, Event, IoOperationType, MachineCommand, MachineReturn,
    RunState, Signals, StatusInfo,
};
use libqmp::{Options, Session};
use tempfile::TempDir;

/// The time after which a test gives up. No test depends on it otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Answers `query-status`, and leaves every other command to the test.
struct FakeMachine(Sender<(MachineCommand, Reply)>);

impl Machine for FakeMachine {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        match status(&command) {
            // Read here if events were raised that the answer must not overtake.
            Some(status) => reply.send(Ok(status)),
            // A test that has ended sends no answer.
            None => drop(self.0.send((command, reply))),
        }
    }

    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn> {
        status(command)
    }

    fn has_device(&self, name: &str) -> bool {
        name.starts_with("disk")
    }

    fn is_current(&self, _: &Event) -> bool {
        true
    }
}

/// Faultvisor's monitor on a unix socket. The test plays the machine.
pub struct Server {
    pub signals: Signals,
    pub commands: Receiver<(MachineCommand, Reply)>,
    pub path: PathBuf,
    pub handle: MonitorHandle,
    _directory: TempDir,
}

impl Server {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let address: ListenAddress = format!("unix:{}", path.display()).parse().unwrap();
        let (left, commands) = channel();
        let monitor = Monitor::builder().bind(&[address]).unwrap();
        let handle = monitor.start(Box::new(FakeMachine(left))).unwrap();
        Self {
            signals: handle.signals(),
            commands,
            path,
            handle,
            _directory: directory,
        }
    }

    pub fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// A session with a time limit, so that a test fails instead of hanging.
    pub fn session(&self) -> Session {
        options().connect(&self.address()).unwrap()
    }

    /// Raises an error of a disk, whose reason is a number.
    pub fn fail(&self, device: &str, number: u64) {
        self.signals.raise(failure(device, number));
    }
}

/// A machine that only reports that it runs.
pub struct Silent;

impl Machine for Silent {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        if let Some(status) = status(&command) {
            reply.send(Ok(status));
        }
    }

    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn> {
        status(command)
    }

    fn has_device(&self, _: &str) -> bool {
        false
    }

    fn is_current(&self, _: &Event) -> bool {
        false
    }
}

fn status(command: &MachineCommand) -> Option<MachineReturn> {
    let status = StatusInfo {
        running: true,
        status: RunState::Running,
    };
    (*command == MachineCommand::QueryStatus).then_some(MachineReturn::QueryStatus(status))
}

/// Options with a time limit that no test needs.
pub fn options() -> Options {
    Session::options().timeout(PATIENCE)
}

pub fn failure(device: &str, number: u64) -> Event {
    Event::BlockIoError(BlockIoError {
        qom_path: format!("/machine/peripheral/{device}"),
        device: device.to_owned(),
        node_name: None,
        operation: IoOperationType::Write,
        action: BlockErrorAction::Report,
        nospace: None,
        reason: number.to_string(),
    })
}

/// A greeting such as QEMU's.
pub const GREETING: &str = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 10}, \
                            \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";

/// The lines of a server without accessors that has completed the negotiation.
pub const NEGOTIATED: [&str; 3] = [
    GREETING,
    "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"not now\"}}\r\n",
    "{\"return\": {}}\r\n",
];

/// A server's side of a connection: `Scripted::say` and `Scripted::hear` in any order.
pub struct Scripted {
    pub stream: UnixStream,
    pub requests: BufReader<UnixStream>,
}

impl Scripted {
    pub fn say(&mut self, text: &str) {
        // The client may be gone.
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// The next request; an empty string at the end.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        let _ = self.requests.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// Greets and negotiates as a server without accessors.
    pub fn negotiate(&mut self) {
        self.say(NEGOTIATED[0]);
        for answer in &NEGOTIATED[1..] {
            self.hear();
            self.say(answer);
        }
    }

    /// The same as a server with accessors.
    pub fn negotiate_with_accessors(&mut self) {
        self.say(GREETING);
        for _ in 0..2 {
            self.hear();
            self.say("{\"return\": {}}\r\n");
        }
    }

    /// Receives a request and answers it; `answer` is the text before its id.
    pub fn answer(&mut self, answer: &str) -> serde_json::Value {
        let request: serde_json::Value = serde_json::from_str(&self.hear()).unwrap();
        self.say(&format!("{answer}, \"id\": {}}}\r\n", request["id"]));
        request
    }
}

/// A server that plays `script` for one client.
pub fn scripted<T: Send + 'static>(
    script: impl FnOnce(&mut Scripted) -> T + Send + 'static,
) -> (String, JoinHandle<T>, TempDir) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let requests = BufReader::new(stream.try_clone().unwrap());
        script(&mut Scripted { stream, requests })
    });
    (format!("unix:{}", path.display()), thread, directory)
}
