//! A machine without effects, and a client that writes raw messages: the tests are about the wire.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faultvisor_monitor::{
    ListenAddress, LocalAddress, Machine, Monitor, MonitorBuilder, MonitorHandle, Reply,
};
use faultvisor_schema::{
    BlockErrorAction, BlockInfo, BlockIoError, Event, IoOperationType, MachineCommand,
    MachineReturn, Reset, RunState, ShutdownCause, Signals, StatusInfo,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The timeout of every wait. No test depends on its length.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Answers `query-status`, and leaves every other command to the test.
struct FakeMachine {
    left: Sender<(MachineCommand, Reply)>,
    is_current: Arc<AtomicBool>,
    running: Arc<AtomicBool>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

/// An action during the machine's answer.
pub type Meanwhile = Box<dyn FnOnce() + Send>;

impl FakeMachine {
    fn status(&self, command: &MachineCommand) -> Option<MachineReturn> {
        let running = self.running.load(Ordering::SeqCst);
        let status = StatusInfo {
            running,
            status: if running {
                RunState::Running
            } else {
                RunState::Paused
            },
        };
        (*command == MachineCommand::QueryStatus).then_some(MachineReturn::QueryStatus(status))
    }
}

impl Machine for FakeMachine {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        match self.status(&command) {
            Some(status) => reply.send(Ok(status)),
            None => self.left.send((command, reply)).unwrap(),
        }
    }

    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn> {
        let status = self.status(command);
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile();
        }
        status
    }

    fn has_device(&self, name: &str) -> bool {
        name.starts_with("disk")
    }

    fn is_current(&self, _: &Event) -> bool {
        self.is_current.load(Ordering::SeqCst)
    }
}

/// A monitor on a unix socket.
pub struct Server {
    pub signals: Signals,
    pub commands: Receiver<(MachineCommand, Reply)>,
    pub path: PathBuf,
    pub handle: MonitorHandle,
    pub directory: TempDir,
    /// Whether the machine reports replayed events as current.
    pub is_current: Arc<AtomicBool>,
    /// Whether it reports `running`.
    pub running: Arc<AtomicBool>,
    /// An action during the machine's next answer, after it has read its state.
    pub meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

impl Server {
    pub fn new() -> Self {
        Self::with(Monitor::builder())
    }

    /// A server without the rate limit of default events, which depends on the clock.
    pub fn unlimited() -> Self {
        Self::with(Monitor::builder().default_event_interval(Duration::ZERO))
    }

    pub fn with(builder: MonitorBuilder) -> Self {
        Self::listening(builder, "")
    }

    /// One that speaks JSON-RPC.
    pub fn json_rpc() -> Self {
        Self::listening(Monitor::builder(), ",protocol=json-rpc")
    }

    /// One on a unix socket, with these options after its address.
    pub fn listening(builder: MonitorBuilder, options: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let address = format!("unix:{}{options}", path.display());
        Self::on(builder, &[&address], directory, path)
    }

    /// One on a unix socket and on a port of the loopback, with these options after each address.
    pub fn everywhere(options: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let unix = format!("unix:{}{options}", path.display());
        let tcp = format!("tcp:127.0.0.1:0{options}");
        Self::on(Monitor::builder(), &[&unix, &tcp], directory, path)
    }

    fn on(builder: MonitorBuilder, addresses: &[&str], directory: TempDir, path: PathBuf) -> Self {
        let addresses: Vec<ListenAddress> = addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        let monitor = builder.bind(&addresses).unwrap();
        let (left, commands) = channel();
        let is_current = Arc::new(AtomicBool::new(true));
        let running = Arc::new(AtomicBool::new(true));
        let meanwhile = Arc::new(Mutex::default());
        let machine = FakeMachine {
            left,
            is_current: Arc::clone(&is_current),
            running: Arc::clone(&running),
            meanwhile: Arc::clone(&meanwhile),
        };
        let handle = monitor.start(Box::new(machine)).unwrap();
        Self {
            signals: handle.signals(),
            commands,
            path,
            handle,
            directory,
            is_current,
            running,
            meanwhile,
        }
    }

    /// Its ports on TCP.
    pub fn ports(&self) -> Vec<SocketAddr> {
        let addresses = self.handle.local_addresses().iter();
        let port = |address: &LocalAddress| match address {
            LocalAddress::Tcp(address) => Some(*address),
            _ => None,
        };
        addresses.filter_map(port).collect()
    }

    /// A client that has been greeted.
    pub fn greeted(&self) -> Client {
        let mut client = Client::connect(&self.path);
        assert!(client.read()["QMP"].is_object());
        client
    }

    /// A client that has negotiated.
    pub fn client(&self) -> Client {
        let mut client = self.greeted();
        client.execute("qmp_capabilities");
        client
    }

    /// A client with these capabilities enabled, without default events.
    pub fn capable_client(&self, capabilities: &[&str]) -> Client {
        let mut client = self.greeted();
        client.execute("disable-default-events");
        client.send(format!(
            "{{'execute': 'qmp_capabilities', 'arguments': {{'enable': {capabilities:?}}}}}"
        ));
        assert_eq!(client.read(), json!({"return": {}}));
        client
    }

    /// A client without default events.
    pub fn quiet_client(&self) -> Client {
        let mut client = self.greeted();
        client.execute("disable-default-events");
        client.execute("qmp_capabilities");
        client
    }

    pub fn command(&self) -> (MachineCommand, Reply) {
        self.commands.recv_timeout(PATIENCE).unwrap()
    }
}

/// A client.
pub struct Client {
    pub stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    pub fn connect(path: &std::path::Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { stream, lines }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next line, or nothing at the stream's end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    pub fn read(&mut self) -> Value {
        let line = self.line().expect("a line");
        assert!(line.is_ascii() && line.ends_with("\r\n"), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    /// Executes a command without arguments, whose success is the next message.
    pub fn execute(&mut self, command: &str) -> Value {
        self.send(format!("{{'execute': '{command}'}}"));
        let answer = self.read();
        assert!(answer.get("return").is_some(), "{answer}");
        answer["return"].clone()
    }

    /// Executes a command without arguments, and skips messages before the answer.
    pub fn execute_after_events(&mut self, command: &str) -> Value {
        self.send(format!("{{'execute': '{command}', 'id': 'answer'}}"));
        loop {
            let message = self.read();
            if message["id"] == "answer" {
                return message;
            }
        }
    }

    pub fn error(&mut self, request: impl AsRef<[u8]>) -> (String, String) {
        self.send(request);
        let answer = self.read();
        let text = |name: &str| {
            answer["error"][name]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"))
                .to_owned()
        };
        (text("class"), text("desc"))
    }

    /// Everything sent until now, without the answer that marks its end.
    pub fn until_now(&mut self) -> Vec<Value> {
        self.send("{'execute': 'query-status', 'id': 'until now'}");
        let mut said = Vec::new();
        loop {
            let message = self.read();
            if message["id"] == "until now" {
                return said;
            }
            said.push(message);
        }
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

pub fn reset() -> Event {
    Event::Reset(Reset {
        guest: false,
        reason: ShutdownCause::HostQmpSystemReset,
    })
}

/// A disk without a medium.
pub fn disk(name: &str) -> BlockInfo {
    BlockInfo {
        device: name.to_owned(),
        qdev: None,
        r#type: "unknown".to_owned(),
        removable: false,
        locked: false,
        inserted: None,
        io_status: None,
    }
}
