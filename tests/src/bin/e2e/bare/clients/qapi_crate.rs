//! The `qapi` crate, whose types come from QEMU's schema. To it, accessors are custom commands.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use faultvisor_tests::bare::SOON;
use faultvisor_tests::suite::{Context, Failure};
use faultvisor_tests::{check, check_eq};
use qapi::qmp::{self, BlockDeviceIoStatus, BlockErrorAction, Event, IoOperationType, RunState};
use qapi::{Command, Empty};
use serde::Serialize;
use serde_json::Value;

use super::failing;

/// `get-block-io-error-event`.
#[derive(Debug, Serialize)]
struct GetBlockIoErrorEvent {}

impl Command for GetBlockIoErrorEvent {
    type Ok = u64;
    const NAME: &'static str = "get-block-io-error-event";
    const ALLOW_OOB: bool = false;
}

/// `put-event`.
#[derive(Debug, Serialize)]
struct PutEvent {
    tag: u64,
}

impl Command for PutEvent {
    type Ok = Empty;
    const NAME: &'static str = "put-event";
    const ALLOW_OOB: bool = false;
}

/// The server's messages, kept beside the crate's own: its events have no member for a tag.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u8>>>);

impl Record {
    /// The messages since the last call, as JSON.
    fn messages(&self) -> Result<Vec<Value>, Failure> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let whole: Vec<u8> = bytes.drain(..end).collect();
        let lines = whole
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        Ok(lines
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()?)
    }
}

struct Recorded(UnixStream, Record);

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        let mut record = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.extend(&buffer[..count]);
        Ok(count)
    }
}

struct Client {
    qmp: qapi::Qmp<qapi::Stream<BufReader<Recorded>, UnixStream>>,
    record: Record,
}

impl Client {
    /// The next events up to and including one that is `wanted`.
    fn events_to(&mut self, wanted: fn(&Event) -> bool) -> Result<Vec<Event>, Failure> {
        let deadline = Instant::now() + SOON;
        let mut events = Vec::new();
        loop {
            events.extend(self.qmp.events());
            if events.iter().any(wanted) {
                return Ok(events);
            }
            check!(Instant::now() < deadline, "only these events: {events:?}");
            self.qmp.nop()?;
        }
    }

    /// Waits until an error has stopped the machine, and returns the tags of the errors until then.
    fn stopped(&mut self) -> Result<Vec<Option<u64>>, Failure> {
        let events = self.events_to(|event| matches!(event, Event::STOP { .. }))?;
        for event in &events {
            if let Event::BLOCK_IO_ERROR { data, .. } = event {
                check_eq!(data.device, "d0");
                check_eq!(data.reason, "File too large");
                check_eq!(data.nospace, Some(false));
                check!(
                    matches!(
                        (data.action, data.operation),
                        (BlockErrorAction::stop, IoOperationType::write)
                    ),
                    "{data:?}"
                );
            }
        }
        let status = self.qmp.execute(&qmp::query_status {})?;
        check!(
            !status.running && status.status == RunState::io_error,
            "{status:?}"
        );
        let disks = self.qmp.execute(&qmp::query_block {})?;
        check_eq!(disks.len(), 1);
        check!(
            disks[0].device == "d0" && disks[0].io_status == Some(BlockDeviceIoStatus::failed),
            "{disks:?}"
        );
        let inserted = disks[0].inserted.as_ref();
        check_eq!(inserted.map(Size::virtual_size), Some(256 * 512));
        let errors = self.record.messages()?.into_iter();
        Ok(errors
            .filter(|message| message["event"] == "BLOCK_IO_ERROR")
            .map(|message| message["tag"].as_u64())
            .collect())
    }

    /// `put-event` must be refused with a class that the crate does not define.
    fn refuses(&mut self, tag: u64) -> Result<(), Failure> {
        self.record.messages()?;
        let answer = self.qmp.execute(&PutEvent { tag });
        check!(answer.is_err(), "put-event took {tag}");
        let messages = self.record.messages()?;
        let error = messages.iter().find_map(|message| message.get("error"));
        let error = error.ok_or_else(|| Failure::new(format!("no error in {messages:?}")))?;
        check_eq!(error["class"], "InvalidParameterValue");
        check_eq!(
            error["desc"],
            "Parameter 'tag' expects a valid event handle"
        );
        Ok(())
    }
}

trait Size {
    fn virtual_size(&self) -> i64;
}

impl Size for qmp::BlockDeviceInfo {
    fn virtual_size(&self) -> i64 {
        self.image.base.virtual_size
    }
}

pub fn the_qapi_crate_drives_the_exchange(context: &Context) -> Result<(), Failure> {
    let mut machine = failing(context)?;
    drop(machine.client()?);
    let stream = UnixStream::connect(machine.socket())?;
    stream.set_read_timeout(Some(SOON))?;
    let record = Record::default();
    let reader = BufReader::new(Recorded(stream.try_clone()?, record.clone()));
    let mut client = Client {
        qmp: qapi::Qmp::new(qapi::Stream::new(reader, stream)),
        record,
    };
    let greeting = client.qmp.handshake()?;
    check_eq!(greeting.version.qemu.major, 10);
    let version = client.qmp.execute(&qmp::query_version {})?;
    check_eq!(version.package, greeting.version.package);
    let commands = client.qmp.execute(&qmp::query_commands {})?;
    for name in [
        GetBlockIoErrorEvent::NAME,
        PutEvent::NAME,
        "stop",
        "cont",
        "quit",
    ] {
        check!(
            commands.iter().any(|command| command.name == name),
            "there is no {name}"
        );
    }
    let status = client.qmp.execute(&qmp::query_status {})?;
    check!(status.status == RunState::prelaunch, "{status:?}");

    let tag = client.qmp.execute(&GetBlockIoErrorEvent {})?;
    client.qmp.execute(&qmp::cont {})?;
    let mut tags = client.stopped()?;
    tags.sort_unstable();
    check_eq!(tags, [None, Some(tag)]);
    client.qmp.execute(&qmp::cont {})?;
    let tags = client.stopped()?;
    check_eq!(tags.iter().filter(|seen| **seen == Some(tag)).count(), 1);

    client.qmp.execute(&PutEvent { tag })?;
    client.refuses(tag)?;
    client.refuses(tag + 1000)?;

    // Only default events from here on, at most one a second.
    client.qmp.events().for_each(drop);
    client.qmp.execute(&qmp::cont {})?;
    let mut tags = client.stopped()?;
    if tags.is_empty() {
        client.events_to(|event| matches!(event, Event::BLOCK_IO_ERROR { .. }))?;
        let messages = client.record.messages()?.into_iter();
        tags = messages
            .filter(|message| message["event"] == "BLOCK_IO_ERROR")
            .map(|message| message["tag"].as_u64())
            .collect();
    }
    check!(
        !tags.is_empty() && tags.iter().all(Option::is_none),
        "tags {tags:?}"
    );

    // `stop` has no effect on a stopped machine.
    client.qmp.execute(&qmp::stop {})?;
    let status = client.qmp.execute(&qmp::query_status {})?;
    check!(status.status == RunState::io_error, "{status:?}");
    client.qmp.execute(&qmp::quit {})?;
    machine.ends_well()
}
