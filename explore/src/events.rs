//! The events of a machine, as lines on standard error while its command runs.

use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use faultvisor_harness::libqmp::{AnyEvent, Occurrence, RawEvent, Session};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::report::{self, Form};

/// How long the monitor may take to answer; its machine may hang.
const ANSWER: Duration = Duration::from_secs(10);

/// A thread that writes a machine's events as they arrive.
#[derive(Debug)]
pub struct Reporter {
    session: Session,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Connects to all events of the monitor behind this socket, in a session of its own.
    ///
    /// # Errors
    ///
    /// The connection fails, or the host refuses a thread.
    pub fn start(socket: &Path, form: Form) -> Result<Self, Failure> {
        let address = format!("unix:{}", socket.display());
        let session = Session::options().timeout(ANSWER).connect(&address)?;
        let events = session.any_event()?;
        let thread = thread::Builder::new().name("events".to_owned());
        let socket = socket.to_owned();
        let thread = thread.spawn(move || write_all(&events, form, &socket));
        let thread = thread.map_err(Failure::host("cannot start a thread"))?;
        Ok(Self { session, thread })
    }

    /// Writes what the machine has raised until now, and ends the session.
    pub fn finish(self) {
        // Events that were raised before an answer arrive before it. A machine that has ended has sent everything.
        let _ = self.session.query_status();
        self.session.close();
        // A panic of the thread has been reported by its hook.
        let _ = self.thread.join();
    }
}

fn write_all(events: &AnyEvent, form: Form, socket: &Path) {
    for event in events.iter().flatten() {
        if let Some(line) = line(&event, form, socket) {
            report::line(&line);
        }
    }
}

/// The line of an event; `None` for one that is not about faults or errors, in the form for people.
fn line(event: &Occurrence<RawEvent>, form: Form, socket: &Path) -> Option<String> {
    let data = &event.data.data;
    if form == Form::Json {
        let line = json!({
            "event": event.data.name,
            "data": data,
            "timestamp": {
                "seconds": event.timestamp.seconds,
                "microseconds": event.timestamp.microseconds,
            },
        });
        return Some(line.to_string());
    }
    let device = text(data, "device");
    let lost = match event.lost {
        0 => String::new(),
        lost => format!(" ({lost} events before it were lost)"),
    };
    let said = match event.data.name.as_str() {
        "BLOCK_IO_ERROR" => format!(
            "{device}: {} failed: {} (action: {})",
            text(data, "operation"),
            text(data, "reason"),
            text(data, "action"),
        ),
        "BLOCK_FAULT_INJECTED" => format!(
            "{device}: fault '{}' ({}) at request {}: {} of {} sectors at sector {}",
            text(data, "id"),
            text(data, "action"),
            text(data, "ordinal"),
            text(data, "operation"),
            text(data, "sectors"),
            text(data, "sector"),
        ),
        "BLOCK_POWER_CUT" => "the power was cut".to_owned(),
        "GUEST_PANICKED" => "the guest panicked".to_owned(),
        "RESET" => "the guest was reset".to_owned(),
        "STOP" => format!(
            "the machine stopped; 'qmp -s {} cont' continues it",
            socket.display()
        ),
        "EVENTS_LOST" => format!(
            "{} events {} were lost",
            text(data, "count"),
            text(data, "event")
        ),
        _ => return None,
    };
    Some(format!("fvctl: {said}{lost}"))
}

/// A member as text, without quotes.
fn text(data: &Map<String, Value>, name: &str) -> String {
    match data.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    }
}
