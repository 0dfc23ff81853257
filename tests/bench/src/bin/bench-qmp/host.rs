//! A process with a monitor and a device that raises events on request, so that the monitor is measured without a
//! guest.

use std::io::{self, BufRead};
use std::path::Path;

use faultvisor_monitor::{ListenAddress, Machine, Monitor, Reply};
use faultvisor_schema::{
    BlockErrorAction, BlockIoError, CommandError, Event, IoOperationType, MachineCommand,
    MachineReturn,
};

use crate::Measured;
use crate::sample::Moment;

/// A host with one disk and no commands.
struct OneDisk;

impl Machine for OneDisk {
    fn submit(&self, _: MachineCommand, reply: Reply) {
        reply.send(Err(CommandError::generic("This machine does nothing")));
    }

    fn answer(&self, _: &MachineCommand) -> Option<MachineReturn> {
        None
    }

    fn has_device(&self, name: &str) -> bool {
        name == "disk0"
    }

    fn is_current(&self, _: &Event) -> bool {
        false
    }
}

/// Serves clients until standard input ends. Each line there is a number of events to raise and the first one's number;
/// an event's reason is its number and the [`Moment`] when it was raised.
pub fn serve(socket: &Path) -> Measured {
    let address: ListenAddress = format!("unix:{}", socket.display()).parse()?;
    let handle = Monitor::builder()
        .bind(&[address])?
        .start(Box::new(OneDisk))?;
    let signals = handle.signals();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (count, first) = line.split_once(' ').ok_or("a line without a space")?;
        let (count, first): (u64, u64) = (count.parse()?, first.parse()?);
        for number in first..first + count {
            signals.raise(failure(&format!("{number} {}", Moment::now())));
        }
    }
    Ok(())
}

fn failure(reason: &str) -> Event {
    Event::BlockIoError(BlockIoError {
        qom_path: "/machine/peripheral/disk0".to_owned(),
        device: "disk0".to_owned(),
        node_name: Some("disk0".to_owned()),
        operation: IoOperationType::Write,
        action: BlockErrorAction::Report,
        nospace: Some(true),
        reason: reason.to_owned(),
    })
}
