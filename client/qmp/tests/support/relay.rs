//! A relay between clients and a server that records the messages.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, Server};

/// The sender of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

#[derive(Default)]
struct Notes {
    said: Mutex<Vec<(Side, Value)>>,
    more: Condvar,
}

/// Passes on messages, line by line.
pub struct Relay {
    notes: Arc<Notes>,
    path: PathBuf,
}

impl Relay {
    pub fn to(server: &Server) -> Self {
        let path = server.directory.path().join("relay.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (to, notes) = (server.path().to_owned(), Arc::new(Notes::default()));
        let relay = Self {
            notes: Arc::clone(&notes),
            path,
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), UnixStream::connect(&to).unwrap());
                pass(Side::Client, &client, &server, Arc::clone(&notes));
                pass(Side::Server, &server, &client, Arc::clone(&notes));
            }
        });
        relay
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the answer to a command of this name, and returns both messages.
    #[track_caller]
    pub fn answered(&self, command: &str) -> (Value, Value) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.notes.said.lock().unwrap();
        loop {
            if let Some(exchange) = exchange(&said, command) {
                return exchange;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no answer to {command} in {said:#?}");
            said = self.notes.more.wait_timeout(said, left).unwrap().0;
        }
    }

    /// The client's commands, in order.
    pub fn commands(&self) -> Vec<String> {
        let said = self.notes.said.lock().unwrap();
        let asked = said.iter().filter(|(side, _)| *side == Side::Client);
        let name = |message: &Value| {
            let name = message.get("execute").or(message.get("exec-oob"))?;
            name.as_str().map(str::to_owned)
        };
        asked.filter_map(|(_, message)| name(message)).collect()
    }
}

fn exchange(said: &[(Side, Value)], command: &str) -> Option<(Value, Value)> {
    let asked = said.iter().find(|(side, message)| {
        let name = message.get("execute").or(message.get("exec-oob"));
        *side == Side::Client && name.is_some_and(|name| name == command)
    });
    let (_, asked) = asked?;
    let answered = said
        .iter()
        .find(|(side, message)| *side == Side::Server && message.get("id") == asked.get("id"));
    answered.map(|(_, answer)| (asked.clone(), answer.clone()))
}

fn pass(side: Side, from: &UnixStream, to: &UnixStream, notes: Arc<Notes>) {
    let from = BufReader::new(from.try_clone().unwrap());
    let mut to = to.try_clone().unwrap();
    thread::spawn(move || {
        for line in from.lines() {
            let Ok(line) = line else { break };
            notes
                .said
                .lock()
                .unwrap()
                .push((side, serde_json::from_str(&line).unwrap()));
            notes.more.notify_all();
            if to.write_all((line + "\n").as_bytes()).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
