//! A client that writes and reads the monitor's lines itself: for tests about the lines, such as which events carry a
//! handle and which are default events, or about requests sent without waiting for answers.
//!
//! It deliberately has no schema: messages are JSON as on the wire. Every other test uses
//! [`Client`](crate::client::Client), and with it libqmp.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing listens there.
    #[error("cannot connect to '{path}' within {within:?}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The timeout.
        within: Duration,
        /// The last attempt's error.
        #[source]
        source: io::Error,
    },
    /// The command was answered by an error.
    #[error("{class}: {desc}")]
    Command {
        /// The error's class.
        class: String,
        /// Its description.
        desc: String,
    },
    /// A message did not arrive.
    #[error("no {wanted} within {within:?}")]
    TimedOut {
        /// The expected message.
        wanted: String,
        /// The timeout.
        within: Duration,
    },
    /// The server closed the connection.
    #[error("the server closed the connection; waiting for {0}")]
    Closed(String),
    /// The server sent a line that is not a JSON object.
    #[error("the server sent what is no JSON object: {0}")]
    NotJson(String),
    /// Reading or writing failed.
    #[error("the connection failed")]
    Connection(#[from] io::Error),
}

/// One connection to a monitor.
#[derive(Debug)]
pub struct WireClient {
    stream: UnixStream,
    unread: Vec<u8>,
    events: VecDeque<Value>,
}

impl WireClient {
    /// Connects to a Unix socket, retrying until something listens there.
    pub fn connect(path: &Path, within: Duration) -> Result<Self, WireError> {
        let stream = connect(path, within)?;
        Ok(Self {
            stream,
            unread: Vec::new(),
            events: VecDeque::new(),
        })
    }

    /// Reads the greeting and completes the negotiation, with no capability enabled.
    pub fn negotiate(&mut self, within: Duration) -> Result<Value, WireError> {
        let greeting = self.next_message("greeting", within)?;
        self.execute("qmp_capabilities", None, within)?;
        Ok(greeting)
    }

    /// Executes a command and returns its value. Events before the answer are kept for
    /// [`next_event`](Self::next_event).
    pub fn execute(
        &mut self,
        command: &str,
        arguments: Option<Value>,
        within: Duration,
    ) -> Result<Value, WireError> {
        // In the order of the protocol's documents, for readers of a log.
        let name = Value::from(command);
        self.send(&match arguments {
            None => format!("{{\"execute\": {name}}}"),
            Some(arguments) => format!("{{\"execute\": {name}, \"arguments\": {arguments}}}"),
        })?;
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut message = self.next_message(&format!("answer to '{command}'"), left)?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else if let Some(error) = message.get("error") {
                let member = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                return Err(WireError::Command {
                    class: member("class"),
                    desc: member("desc"),
                });
            } else {
                return Ok(message["return"].take());
            }
        }
    }

    /// The next event of any name.
    pub fn next_event(&mut self, within: Duration) -> Result<Value, WireError> {
        match self.events.pop_front() {
            Some(event) => Ok(event),
            None => self.next_message("event", within),
        }
    }

    /// The next event of that name; those before it are dropped.
    pub fn wait_for_event(&mut self, name: &str, within: Duration) -> Result<Value, WireError> {
        let deadline = Instant::now() + within;
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.next_message(&format!("event '{name}'"), left)?
                }
            };
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    /// The next message of any kind.
    pub fn next_message(&mut self, wanted: &str, within: Duration) -> Result<Value, WireError> {
        let deadline = Instant::now() + within;
        let line = loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                break String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timed_out = || WireError::TimedOut {
                wanted: wanted.to_owned(),
                within,
            };
            if left == Duration::ZERO {
                return Err(timed_out());
            }
            // A timeout of 0 is invalid.
            let timeout = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(timeout))?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(WireError::Closed(wanted.to_owned())),
                Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        match serde_json::from_str(&line) {
            Ok(message @ Value::Object(_)) => Ok(message),
            _ => Err(WireError::NotJson(line)),
        }
    }

    /// Sends a text unchanged, with an end of line.
    pub fn send(&mut self, text: &str) -> Result<(), WireError> {
        Ok(self.stream.write_all(format!("{text}\r\n").as_bytes())?)
    }
}

/// Connects to a Unix socket, retrying until something listens there: nothing announces a listener.
///
/// # Errors
///
/// [`WireError::Connect`] with the last attempt's error.
pub fn connect(path: &Path, within: Duration) -> Result<UnixStream, WireError> {
    const PAUSE: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + within;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(source) if Instant::now() >= deadline => {
                return Err(WireError::Connect {
                    path: path.to_path_buf(),
                    within,
                    source,
                });
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    const SOON: Duration = Duration::from_secs(10);

    /// A client of a server that sends each text after it has read a line; the first one at once.
    fn client_of(answers: &'static [&'static str]) -> (WireClient, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut requests = BufReader::new(stream.try_clone().unwrap()).lines();
            for (index, answer) in answers.iter().enumerate() {
                if index > 0 {
                    requests.next().unwrap().unwrap();
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
            let _ = requests.next();
        });
        (WireClient::connect(&path, SOON).unwrap(), directory)
    }

    #[test]
    fn events_before_an_answer_are_kept() {
        let (mut qmp, _directory) = client_of(&[
            "{\"QMP\": {}}\r\n",
            "{\"return\": {}}\r\n",
            "{\"event\": \"STOP\"}\r\n{\"return\": 32}\r\n{\"event\": \"RES",
            "UME\"}\r\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n",
        ]);
        assert_eq!(qmp.negotiate(SOON).unwrap(), json!({ "QMP": {} }));
        assert_eq!(qmp.execute("get-stop-event", None, SOON).unwrap(), 32);
        let refused = qmp
            .execute("put-event", Some(json!({ "tag": 1 })), SOON)
            .unwrap_err();
        assert_eq!(refused.to_string(), "GenericError: no");
        assert_eq!(qmp.next_event(SOON).unwrap()["event"], "STOP");
        assert_eq!(
            qmp.wait_for_event("RESUME", SOON).unwrap()["event"],
            "RESUME"
        );
        let silent = qmp.next_event(Duration::from_millis(10)).unwrap_err();
        assert!(matches!(silent, WireError::TimedOut { .. }), "{silent}");
    }

    #[test]
    fn a_socket_without_a_listener_is_named() {
        let refused = WireClient::connect(Path::new("/no/such/socket"), Duration::ZERO)
            .err()
            .unwrap();
        assert_eq!(
            refused.to_string(),
            "cannot connect to '/no/such/socket' within 0ns"
        );
    }
}
