//! A client of the monitor for the tests with Linux guests: it skips no event.

use std::ops::Deref;
use std::path::Path;

use faultvisor_tests::client::{self, Event};
use faultvisor_tests::guest_shell::PATIENCE;
use faultvisor_tests::suite::Failure;
use faultvisor_tests::{check, check_eq};
use libqmp::{BlockDeviceIoStatus, Error, RunState};
use serde_json::Value;

/// Events of disk errors.
pub const IO_ERRORS: [&str; 3] = ["BLOCK_IO_ERROR", "STOP", "RESUME"];

/// A session, and its events in order.
pub struct Client {
    inner: client::Client,
}

impl Client {
    /// Connects, and receives every event.
    pub fn connect(monitor: &Path) -> Result<Self, Failure> {
        let inner = client::Client::connect(monitor, PATIENCE)?;
        Ok(Self { inner })
    }

    /// Connects, and receives events of these names.
    pub fn hearing(monitor: &Path, names: &[&str]) -> Result<Self, Failure> {
        let inner = client::Client::connect(monitor, PATIENCE)?.only(names);
        Ok(Self { inner })
    }

    /// Events raised until now and not yet returned.
    pub fn events_until_now(&self) -> Result<Vec<Event>, Failure> {
        // Events raised before a command's answer arrive before it.
        self.query_status()?;
        Ok(self.take_events()?)
    }

    /// Executes a command that has to fail, and returns the error as `class: desc`.
    pub fn refused(&self, command: &str) -> Result<String, Failure> {
        match self.execute(command) {
            Err(error @ Error::Command { .. }) => Ok(error.to_string()),
            Err(error) => Err(error.into()),
            Ok(value) => Err(Failure::new(format!("'{command}' returned {value}"))),
        }
    }

    /// The next event, which must have this name. Returns its data.
    pub fn expect(&self, name: &str) -> Result<Value, Failure> {
        let event = self.next_event()?;
        check!(event.name == name, "{event:?} arrived where {name} should");
        check!(event.timestamp.seconds > 0, "no time in {event:?}");
        Ok(event.data)
    }

    /// The next event, which must be this BLOCK_IO_ERROR, as [`io_error`] formats it.
    pub fn expect_io_error(&self, expected: &str) -> Result<(), Failure> {
        let data = self.expect("BLOCK_IO_ERROR")?;
        check_eq!(io_error(&data), expected);
        Ok(())
    }

    /// All events up to and including the next of this name.
    pub fn events_until(&self, name: &str) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        loop {
            let event = self.next_event()?;
            let is_last = event.name == name;
            events.push(event);
            if is_last {
                return Ok(events);
            }
        }
    }

    /// The machine's run state, which must agree with its `running`.
    pub fn run_state(&self) -> Result<&'static str, Failure> {
        let status = self.query_status()?;
        check_eq!(status.running, status.status == RunState::Running);
        Ok(status.status.name())
    }

    /// A disk's io-status; none if its policy never stops the machine.
    pub fn io_status(&self, device: &str) -> Result<Option<&'static str>, Failure> {
        let disks = self.query_block()?;
        let disk = disks.iter().find(|disk| disk.device == device);
        let disk = disk.ok_or_else(|| Failure::new(format!("no '{device}' in {disks:?}")))?;
        Ok(disk.io_status.map(BlockDeviceIoStatus::name))
    }
}

impl Deref for Client {
    type Target = client::Client;

    fn deref(&self) -> &client::Client {
        &self.inner
    }
}

/// Formats a BLOCK_IO_ERROR in one line: `disk0 write stop nospace: No space left on device`.
pub fn io_error(data: &Value) -> String {
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
