//! A server that sends what a test tells it to.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The response to a command: messages before the answer, and the answer without its id. `None` closes the connection.
pub type Script = fn(&str) -> Option<(Vec<Value>, Value)>;

/// Such a server on a unix socket, for one client.
pub struct Scripted {
    pub path: PathBuf,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl Scripted {
    pub fn new(script: Script) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = thread::spawn(move || serve(&listener.accept().unwrap().0, script));
        Self {
            path,
            serving,
            _directory: directory,
        }
    }

    /// Waits for the client to disconnect.
    pub fn join(self) {
        self.serving.join().unwrap();
    }
}

fn serve(stream: &UnixStream, script: Script) {
    let triple = json!({"major": 10, "minor": 0, "micro": 0});
    let version = json!({"qemu": triple, "package": ""});
    let greeting = json!({"QMP": {"version": version, "capabilities": []}});
    let mut writer = stream;
    let mut say = |message: &Value| write!(writer, "{message}\r\n").is_ok();
    say(&greeting);
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap();
        let command = request["execute"].as_str().unwrap_or_default();
        let Some((before, mut answer)) = script(command) else {
            return;
        };
        if let Some(id) = request.get("id") {
            answer["id"] = id.clone();
        }
        if !before.iter().chain([&answer]).all(&mut say) {
            return;
        }
    }
}
