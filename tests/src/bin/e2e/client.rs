//! A client of the monitor, as the tests need it: nothing that it receives is dropped.

use std::collections::BTreeMap;
use std::path::Path;

use faultvisor_tests::guest_shell::PATIENCE;
use faultvisor_tests::qmp::{Qmp, QmpError};
use faultvisor_tests::suite::Failure;
use faultvisor_tests::{check, check_eq};
use serde_json::{Value, json};

/// A negotiated connection.
pub struct Client {
    qmp: Qmp,
    /// The handles that this client holds, by the events that arrive under them.
    tags: BTreeMap<String, u64>,
}

impl Client {
    /// Connects, and leaves the default events as they are.
    pub fn connect(monitor: &Path) -> Result<Self, Failure> {
        let mut qmp = Qmp::connect_unix(monitor, PATIENCE)?;
        qmp.negotiate(PATIENCE)?;
        let tags = BTreeMap::new();
        Ok(Self { qmp, tags })
    }

    /// Connects, switches the default events off, and gets what tells how the machine runs: whatever arrives carries
    /// the handle that it was asked for by. Unlike default events, these are never thinned.
    pub fn connect_by_handles(monitor: &Path) -> Result<Self, Failure> {
        let mut qmp = Qmp::connect_unix(monitor, PATIENCE)?;
        qmp.next_message("greeting", PATIENCE)?;
        qmp.execute("disable-default-events", None, PATIENCE)?;
        qmp.execute("qmp_capabilities", None, PATIENCE)?;
        let tags = BTreeMap::new();
        let mut client = Self { qmp, tags };
        for event in ["BLOCK_IO_ERROR", "STOP", "RESUME"] {
            client.get_event(event)?;
        }
        Ok(client)
    }

    /// Events that were raised until now, before they are waited for.
    pub fn events_until_now(&mut self) -> Result<Vec<Value>, Failure> {
        // What was raised before a command is answered arrives before the answer.
        self.execute("query-status")?;
        Ok(self.qmp.take_events())
    }

    /// Executes a command that has no arguments.
    pub fn execute(&mut self, command: &str) -> Result<Value, Failure> {
        Ok(self.qmp.execute(command, None, PATIENCE)?)
    }

    /// Executes a command with arguments.
    pub fn execute_with(&mut self, command: &str, arguments: Value) -> Result<Value, Failure> {
        Ok(self.qmp.execute(command, Some(arguments), PATIENCE)?)
    }

    /// Executes a command that has to fail, and returns the error as `class: desc`.
    pub fn refused(&mut self, command: &str) -> Result<String, Failure> {
        match self.qmp.execute(command, None, PATIENCE) {
            Err(error @ QmpError::Command { .. }) => Ok(error.to_string()),
            Err(error) => Err(error.into()),
            Ok(value) => Err(Failure::new(format!("'{command}' returned {value}"))),
        }
    }

    /// Connects to the signal behind an event, which arrives under its handle from now on.
    pub fn get_event(&mut self, name: &str) -> Result<(), Failure> {
        let accessor = format!("get-{}-event", name.to_lowercase().replace('_', "-"));
        let handle = self.execute(&accessor)?;
        let tag = handle
            .as_u64()
            .ok_or_else(|| Failure::new(format!("'{accessor}' returned {handle}")))?;
        self.tags.insert(name.to_owned(), tag);
        Ok(())
    }

    /// Gives the handle of an event back.
    pub fn put_event(&mut self, name: &str) -> Result<(), Failure> {
        let arguments = Some(json!({ "tag": self.tags.remove(name) }));
        self.qmp.execute("put-event", arguments, PATIENCE)?;
        Ok(())
    }

    /// The next event, which has to be of this name, and to carry the event's handle if there is one. Returns its data.
    pub fn expect(&mut self, name: &str) -> Result<Value, Failure> {
        let mut event = self.qmp.next_event(PATIENCE)?;
        check!(
            event["event"] == name,
            "{event} arrived where {name} should"
        );
        check_eq!(
            event.get("tag").and_then(Value::as_u64),
            self.tags.get(name).copied()
        );
        check!(event["timestamp"]["seconds"].is_u64(), "no time in {event}");
        Ok(event["data"].take())
    }

    /// The next event, which has to be a BLOCK_IO_ERROR that says this, as [`io_error`] puts it.
    pub fn expect_io_error(&mut self, expected: &str) -> Result<(), Failure> {
        let data = self.expect("BLOCK_IO_ERROR")?;
        check_eq!(io_error(&data), expected);
        Ok(())
    }

    /// All events up to the next of this name, which is the last of them.
    pub fn events_until(&mut self, name: &str) -> Result<Vec<Value>, Failure> {
        let mut events = Vec::new();
        loop {
            let event = self.qmp.next_event(PATIENCE)?;
            let is_last = event["event"] == name;
            events.push(event);
            if is_last {
                return Ok(events);
            }
        }
    }

    /// The machine's run state. Whether it runs has to agree with it.
    pub fn run_state(&mut self) -> Result<String, Failure> {
        let answer = self.execute("query-status")?;
        let state = answer["status"].as_str().unwrap_or_default().to_owned();
        check_eq!(answer["running"].as_bool(), Some(state == "running"));
        Ok(state)
    }

    /// A disk's io-status; none where its policy never stops the machine.
    pub fn io_status(&mut self, device: &str) -> Result<Option<String>, Failure> {
        let disks = self.execute("query-block")?;
        let disk = disks
            .as_array()
            .into_iter()
            .flatten()
            .find(|disk| disk["device"] == device)
            .ok_or_else(|| Failure::new(format!("no '{device}' in {disks}")))?;
        Ok(disk
            .get("io-status")
            .and_then(Value::as_str)
            .map(str::to_owned))
    }
}

/// What a BLOCK_IO_ERROR says, in one line: `disk0 write stop nospace: No space left on device`.
fn io_error(data: &Value) -> String {
    let member = |name: &str| data[name].as_str().unwrap_or("?").to_owned();
    let space = match data["nospace"].as_bool() {
        Some(true) => " nospace",
        Some(false) => "",
        None => " nospace missing",
    };
    format!(
        "{} {} {}{space}: {}",
        member("device"),
        member("operation"),
        member("action"),
        member("reason")
    )
}
