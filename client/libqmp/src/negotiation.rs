//! The negotiation: the server's greeting, and the client's response.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use faultvisor_schema::{Decode, Path, VersionInfo};
use serde_json::{Value, json};

use crate::error::{Closing, Moment, excerpt};
use crate::lines::{Lines, TooLong};
use crate::socket::{Deadline, Read, Socket};
use crate::{Direction, Error, Observer};

/// The longest greeting.
const LONGEST_GREETING: usize = 64 * 1024;

/// A server's greeting.
#[derive(Clone, Debug, PartialEq)]
pub struct Greeting {
    /// The version. For Faultvisor the triple is that of the QEMU whose schema it follows, and the package its own
    /// version.
    pub version: VersionInfo,
    /// The capabilities that it offers: `oob`, `subscribe`, `class-hints`.
    pub capabilities: Vec<String>,
}

impl Greeting {
    fn decode(line: &[u8]) -> Option<Self> {
        let mut greeting: Value = serde_json::from_slice(line).ok()?;
        let mut greeting = greeting.get_mut("QMP")?.take();
        let version = greeting.get_mut("version")?.take();
        // A capability that is not a string is unknown here.
        let capabilities = greeting.get("capabilities").and_then(Value::as_array);
        let names = capabilities.into_iter().flatten().filter_map(Value::as_str);
        Some(Self {
            version: VersionInfo::decode(version, &Path::ANSWER).ok()?,
            capabilities: names.map(str::to_owned).collect(),
        })
    }

    /// Whether it offers this capability.
    #[must_use]
    pub fn has_capability(&self, name: &str) -> bool {
        self.capabilities
            .iter()
            .any(|capability| capability == name)
    }
}

/// The result of the negotiation.
pub(crate) struct Agreement {
    pub(crate) greeting: Greeting,
    /// Whether the server has accessors; otherwise every event arrives by default.
    pub(crate) has_accessors: bool,
    /// What arrived behind it.
    pub(crate) lines: Lines,
}

/// The client's side of the exchange before the session.
pub(crate) struct Negotiation<'a> {
    pub(crate) address: &'a str,
    pub(crate) socket: &'a Socket,
    pub(crate) observer: Option<&'a Observer>,
    pub(crate) deadline: Deadline,
    pub(crate) within: Duration,
}

impl Negotiation<'_> {
    /// Reads the greeting, disables default events if the server can, and completes the negotiation.
    pub(crate) fn perform(&self) -> Result<Agreement, Error> {
        let mut lines = Lines::default();
        let greeting = self.line(&mut lines, Moment::BeforeTheGreeting)?;
        let greeting = Greeting::decode(&greeting).ok_or_else(|| self.not_qmp(&greeting))?;
        self.send(&json!({"execute": "disable-default-events"}))?;
        let has_accessors = self.answer(&mut lines)?.is_ok();
        let enable: &[&str] = if greeting.has_capability("oob") {
            &["oob"]
        } else {
            &[]
        };
        self.send(&json!({"execute": "qmp_capabilities", "arguments": {"enable": enable}}))?;
        match self.answer(&mut lines)? {
            Ok(_) => Ok(Agreement {
                greeting,
                has_accessors,
                lines,
            }),
            Err(error) => Err(Error::refused("qmp_capabilities", &error)),
        }
    }

    fn send(&self, request: &Value) -> Result<(), Error> {
        let mut request = request.to_string();
        if let Some(observer) = self.observer {
            observer(Direction::Sent, &request);
        }
        request.push_str("\r\n");
        match self.socket.write(request.as_bytes(), self.deadline) {
            Ok(written) if written == request.len() => Ok(()),
            Ok(_) => Err(self.timed_out(Moment::InNegotiation)),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Error::HungUp {
                address: self.address.to_owned(),
                moment: Moment::InNegotiation,
            }),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn answer(&self, lines: &mut Lines) -> Result<Result<Value, Value>, Error> {
        loop {
            let line = self.line(lines, Moment::InNegotiation)?;
            let answer = serde_json::from_slice(&line).unwrap_or(Value::Null);
            match (answer.get("return"), answer.get("error")) {
                (Some(value), _) => return Ok(Ok(value.clone())),
                (None, Some(error)) => return Ok(Err(error.clone())),
                // QEMU sends events from the end of the negotiation on, possibly before its answer.
                (None, None) if answer.get("event").is_some() => {}
                (None, None) => return Err(self.not_qmp(&line)),
            }
        }
    }

    fn line(&self, lines: &mut Lines, moment: Moment) -> Result<Vec<u8>, Error> {
        let mut buffer = Socket::buffer();
        loop {
            if let Some(line) = lines.next() {
                let line = line.to_vec();
                if let Some(observer) = self.observer {
                    observer(Direction::Received, &String::from_utf8_lossy(&line));
                }
                return Ok(line);
            }
            // Also if more arrives all the time.
            if self.deadline.is_over() && !is_foreign(lines.rest()) {
                return Err(self.timed_out(moment));
            }
            match self.socket.read(&mut buffer, self.deadline, None) {
                Ok(Read::Bytes(length)) => {
                    let kept = lines.push(&buffer[..length]);
                    let rest = lines.rest();
                    let is_endless = rest.len() > LONGEST_GREETING && !rest.contains(&b'\n');
                    if kept == Err(TooLong) || is_endless {
                        return Err(self.not_qmp(rest));
                    }
                }
                Ok(Read::Nothing) if is_foreign(lines.rest()) => {
                    return Err(self.not_qmp(lines.rest()));
                }
                Ok(Read::Nothing | Read::Interrupted) => return Err(self.timed_out(moment)),
                Ok(Read::End) => return Err(self.hung_up(lines, moment)),
                Err(error) => return Err(self.failed(error.into())),
            }
        }
    }

    fn hung_up(&self, lines: &Lines, moment: Moment) -> Error {
        if is_foreign(lines.rest()) {
            return self.not_qmp(lines.rest());
        }
        let moment = match moment {
            Moment::BeforeTheGreeting if !lines.rest().is_empty() => Moment::InTheGreeting,
            moment => moment,
        };
        Error::HungUp {
            address: self.address.to_owned(),
            moment,
        }
    }

    fn not_qmp(&self, said: &[u8]) -> Error {
        Error::NotQmp {
            address: self.address.to_owned(),
            said: excerpt(&String::from_utf8_lossy(said)),
        }
    }

    fn timed_out(&self, moment: Moment) -> Error {
        match moment {
            Moment::BeforeTheGreeting | Moment::InTheGreeting => Error::NoGreeting {
                address: self.address.to_owned(),
                within: self.within,
            },
            Moment::InNegotiation => Error::TimedOut {
                awaited: "answer in the negotiation".to_owned(),
                within: self.within,
            },
        }
    }

    fn failed(&self, why: Arc<std::io::Error>) -> Error {
        Error::Closed {
            address: self.address.to_owned(),
            why: Closing::Failed(why),
        }
    }
}

/// Whether the beginning of a line cannot be that of a message.
fn is_foreign(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    !start.is_empty() && !start.starts_with(b"{")
}
