//! What is so now because of events in the past, for a client that connects late.

use std::collections::BTreeMap;

use faultvisor_schema::{
    BlockErrorAction, BlockIoError, Event, GuestPanicAction, GuestPanicked, SignalName,
};

use crate::wire::event::Timestamp;

/// The events that still tell of how things are: that the machine is stopped, that its guest has
/// panicked, and which disks hold requests back.
///
/// It follows the events as they are raised, so that one that nobody could be told of is known here all the same.
#[derive(Debug)]
pub(crate) struct Standing {
    stopped: Option<Timestamp>,
    /// The guest has panicked, and the machine stopped for it.
    panicked: Option<(GuestPanicked, Timestamp)>,
    /// The last error of each disk since the machine last went on, by the disk's name.
    errors: BTreeMap<String, (BlockIoError, Timestamp)>,
}

impl Standing {
    /// Of a machine that has not been started yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            stopped: Some(now),
            panicked: None,
            errors: BTreeMap::new(),
        }
    }

    /// Takes an event in.
    pub(crate) fn note(&mut self, event: &Event, timestamp: Timestamp) {
        match event {
            Event::Stop => self.stopped = Some(timestamp),
            Event::Resume => {
                self.stopped = None;
                self.panicked = None;
                self.errors.clear();
            }
            Event::GuestPanicked(panicked) if panicked.action == GuestPanicAction::Pause => {
                self.panicked = Some((panicked.clone(), timestamp));
            }
            Event::BlockIoError(error) if error.action == BlockErrorAction::Stop => {
                self.errors
                    .insert(error.device.clone(), (error.clone(), timestamp));
            }
            Event::BlockIoError(_)
            | Event::BlockWriteThreshold(_)
            | Event::Shutdown(_)
            | Event::Reset(_)
            | Event::Powerdown
            | Event::GuestPanicked(_)
            | Event::GuestCrashloaded(_)
            | Event::BlockImageCorrupted(_)
            | Event::BlockFaultInjected(_)
            | Event::BlockPowerCut(_) => {}
        }
    }

    /// The events of a signal that tell of now.
    pub(crate) fn of(&self, signal: SignalName, device: Option<&str>) -> Vec<(Event, Timestamp)> {
        match signal {
            SignalName::Stop => self
                .stopped
                .map(|at| (Event::Stop, at))
                .into_iter()
                .collect(),
            SignalName::BlockIoError => self
                .errors
                .values()
                .filter(|(error, _)| device.is_none_or(|device| error.device == device))
                .map(|(error, at)| (Event::BlockIoError(error.clone()), *at))
                .collect(),
            SignalName::GuestPanicked => self
                .panicked
                .iter()
                .map(|(panicked, at)| (Event::GuestPanicked(panicked.clone()), *at))
                .collect(),
            SignalName::BlockWriteThreshold
            | SignalName::Resume
            | SignalName::Powerdown
            | SignalName::GuestCrashloaded
            | SignalName::Shutdown
            | SignalName::Reset
            | SignalName::BlockImageCorrupted
            | SignalName::BlockFaultInjected
            | SignalName::BlockPowerCut => Vec::new(),
        }
    }
}
