//! The states that events reported, for late subscribers.

use std::collections::BTreeMap;

use faultvisor_schema::{Event, SignalName};

use crate::wire::event::Timestamp;

/// The last event of each state: for each replayed signal, and for each device if its events have one.
///
/// It follows events as they are raised, including those that no client receives.
#[derive(Debug)]
pub(crate) struct Standing {
    last: BTreeMap<State, (Event, Timestamp)>,
}

/// A state: its signal, and its device if there is one.
type State = (SignalName, Option<String>);

impl Standing {
    /// For a machine that has not been started yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        let mut standing = Self {
            last: BTreeMap::new(),
        };
        standing.note(&Event::Stop, now);
        standing
    }

    /// Records an event.
    pub(crate) fn note(&mut self, event: &Event, timestamp: Timestamp) {
        if event.ends_replay() {
            self.last.clear();
        }
        if event.is_replayed() {
            let state = (event.signal(), event.device().map(str::to_owned));
            self.last.insert(state, (event.clone(), timestamp));
        }
    }

    /// The events of a signal that report a present state, about one device if one is given.
    pub(crate) fn of(&self, signal: SignalName, device: Option<&str>) -> Vec<(Event, Timestamp)> {
        self.last
            .range((signal, None)..)
            .take_while(|((of, _), _)| *of == signal)
            .filter(|((_, of), _)| device.is_none() || of.as_deref() == device)
            .map(|(_, replayed)| replayed.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use faultvisor_schema::{
        BlockErrorAction, BlockIoError, GuestPanicAction, GuestPanicked, IoOperationType,
    };

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp {
            seconds,
            microseconds: 0,
        }
    }

    fn error(device: &str, action: BlockErrorAction) -> Event {
        Event::BlockIoError(BlockIoError {
            qom_path: format!("/machine/{device}"),
            device: device.to_owned(),
            node_name: None,
            operation: IoOperationType::Write,
            action,
            nospace: None,
            reason: "Input/output error".to_owned(),
        })
    }

    fn panicked(action: GuestPanicAction) -> Event {
        Event::GuestPanicked(GuestPanicked { action })
    }

    #[test]
    fn a_machine_that_was_not_started_is_stopped() {
        let standing = Standing::new(at(1));
        assert_eq!(standing.of(SignalName::Stop, None), [(Event::Stop, at(1))]);
        assert!(standing.of(SignalName::BlockIoError, None).is_empty());
    }

    #[test]
    fn the_last_error_that_stopped_the_machine_is_replayed_for_each_disk() {
        let mut standing = Standing::new(at(1));
        let stop = |device| error(device, BlockErrorAction::Stop);
        standing.note(&stop("disk1"), at(2));
        standing.note(&stop("disk0"), at(3));
        standing.note(&stop("disk1"), at(4));
        standing.note(&error("disk1", BlockErrorAction::Report), at(5));
        let errors = |device| standing.of(SignalName::BlockIoError, device);
        let (first, second) = ((stop("disk0"), at(3)), (stop("disk1"), at(4)));
        assert_eq!(errors(None), [first, second.clone()]);
        assert_eq!(errors(Some("disk1")), [second]);
        assert!(errors(Some("disk2")).is_empty());
    }

    #[test]
    fn a_panic_is_replayed_if_the_machine_stands_still_for_it() {
        let mut standing = Standing::new(at(1));
        standing.note(&panicked(GuestPanicAction::Run), at(2));
        assert!(standing.of(SignalName::GuestPanicked, None).is_empty());
        standing.note(&panicked(GuestPanicAction::Pause), at(3));
        assert_eq!(standing.of(SignalName::GuestPanicked, None).len(), 1);
    }

    #[test]
    fn a_machine_that_runs_again_has_no_state_of_before() {
        let mut standing = Standing::new(at(1));
        standing.note(&error("disk0", BlockErrorAction::Stop), at(2));
        standing.note(&panicked(GuestPanicAction::Pause), at(2));
        standing.note(&Event::Resume, at(3));
        for signal in SignalName::ALL {
            assert!(standing.of(*signal, None).is_empty(), "{}", signal.name());
        }
        standing.note(&Event::Stop, at(4));
        assert_eq!(standing.of(SignalName::Stop, None), [(Event::Stop, at(4))]);
    }
}
