//! A session, with its server's introspection.

use std::cell::OnceCell;

use libqmp::{ErrorClass, Session};
use serde_json::Value;

use crate::arguments::{self, Source};
use crate::failure::Failure;
use crate::introspection::Introspection;
use crate::options::ConnectionOptions;
use crate::request::Request;

/// The band that a command is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// In band: after the commands before it.
    In,
    /// Out of band: ahead of them.
    OutOf,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    session: Session,
    /// Queried at most once, on first use: QEMU's answer has 200 KB.
    introspection: OnceCell<Introspection>,
}

impl Client {
    /// Connects. Event handlers run in [`Session::dispatch`].
    ///
    /// # Errors
    ///
    /// No address is given, or no server listens there.
    pub fn connect(options: &ConnectionOptions) -> Result<Self, Failure> {
        let address = options.socket.as_deref().ok_or_else(|| {
            Failure::Usage("no server: say --socket ADDRESS, or set QMP_SOCKET".to_owned())
        })?;
        let mut connecting = Session::options().manual_dispatch();
        if let Some(timeout) = options.timeout {
            connecting = connecting.timeout(timeout);
        }
        if let Some(wait) = options.wait {
            connecting = connecting.within(wait);
        }
        Ok(Self {
            session: connecting.connect(address)?,
            introspection: OnceCell::new(),
        })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The server's introspection.
    ///
    /// # Errors
    ///
    /// The server does not provide it.
    pub fn introspection(&self) -> Result<&Introspection, Failure> {
        if let Some(known) = self.introspection.get() {
            return Ok(known);
        }
        let answer = self.session.execute_raw("query-qmp-schema", None)?;
        let introspection = Introspection::from_answer(answer)?;
        Ok(self.introspection.get_or_init(|| introspection))
    }

    /// The server's introspection, if it was queried before.
    pub fn known_introspection(&self) -> Option<&Introspection> {
        self.introspection.get()
    }

    /// Executes a command with arguments as typed.
    ///
    /// # Errors
    ///
    /// The arguments do not fit, the server refuses the command, or the connection fails.
    pub fn execute(&self, command: &str, words: &[String], band: Band) -> Result<Value, Failure> {
        let wrong = |error| Failure::Argument {
            command: command.to_owned(),
            error: Box::new(error),
        };
        let arguments = match Source::from_words(words).map_err(wrong)? {
            Source::None => None,
            Source::Object(object) => Some(object),
            Source::Words(words) => {
                let introspection = self.introspection()?;
                let of = &introspection.command(command)?.arguments;
                Some(arguments::from_words(introspection, of, &words).map_err(wrong)?)
            }
        };
        self.request(Request {
            command: command.to_owned(),
            arguments,
            band,
        })
    }

    /// Executes a request unchanged.
    ///
    /// # Errors
    ///
    /// The server refuses it, or the connection fails.
    pub fn request(&self, request: Request) -> Result<Value, Failure> {
        let Request {
            command,
            arguments,
            band,
        } = request;
        let command = command.as_str();
        let answer = match band {
            Band::In => self.session.execute_raw(command, arguments),
            Band::OutOf => self.session.execute_raw_out_of_band(command, arguments),
        };
        answer.map_err(|error| self.explained(command, error))
    }

    /// The current names that a key's value can have: of disks, or of nodes. None if the server does not tell them;
    /// without names that would need quotes.
    pub fn names(&self, key: &str) -> Vec<String> {
        let query = match key {
            "device" => "query-block",
            "node-name" => "query-named-block-nodes",
            _ => return Vec::new(),
        };
        let answer = self.session.execute_raw(query, None);
        let entries = answer.ok().and_then(|answer| match answer {
            Value::Array(entries) => Some(entries),
            _ => None,
        });
        let entries = entries.into_iter().flatten();
        let names = entries.filter_map(|entry| Some(entry.get(key)?.as_str()?.to_owned()));
        names.filter(|name| is_plain(name)).collect()
    }

    /// Adds the most similar command to the error for an unknown one.
    fn explained(&self, command: &str, error: libqmp::Error) -> Failure {
        if error.class() == Some(&ErrorClass::CommandNotFound)
            && let Ok(introspection) = self.introspection()
            && let Err(unknown) = introspection.command(command)
        {
            return unknown.into();
        }
        error.into()
    }
}

/// Whether a name can be typed without quotes. QEMU's disks may have an empty name.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.#:@+/%".contains(c);
    !name.is_empty() && name.chars().all(is_plain)
}
