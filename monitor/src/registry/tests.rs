use faultvisor_schema::{BlockErrorAction, BlockIoError, IoOperationType};

use super::*;

fn io_error(device: &str) -> Event {
    Event::BlockIoError(BlockIoError {
        qom_path: format!("/machine/peripheral/{device}"),
        device: device.to_owned(),
        node_name: None,
        operation: IoOperationType::Read,
        action: BlockErrorAction::Report,
        nospace: None,
        reason: String::new(),
    })
}

fn handles(registry: &Registry, event: &Event) -> Vec<Handle> {
    registry.of_event(event).map(|(handle, _)| handle).collect()
}

#[test]
fn handles_are_unique_for_the_process() {
    let session = SessionId::for_tests(1);
    let (mut one, mut other) = (Registry::default(), Registry::default());
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        assert!(seen.insert(one.connect(session, SignalName::Stop, None).unwrap()));
        assert!(seen.insert(other.connect(session, SignalName::Stop, None).unwrap()));
    }
    assert!(
        seen.iter()
            .all(|handle| (1..=LAST_HANDLE).contains(&handle.tag()))
    );
}

#[test]
fn a_connection_hears_its_signal_and_its_device_only() {
    let session = SessionId::for_tests(1);
    let mut registry = Registry::default();
    let all = registry
        .connect(session, SignalName::BlockIoError, None)
        .unwrap();
    let one = registry
        .connect(session, SignalName::BlockIoError, Some("disk1".to_owned()))
        .unwrap();
    registry.connect(session, SignalName::Stop, None).unwrap();
    assert_eq!(handles(&registry, &io_error("disk0")), [all]);
    assert_eq!(handles(&registry, &io_error("disk1")), [all, one]);
}

#[test]
fn a_handle_is_given_back_once_and_by_its_holder() {
    let (holder, other) = (SessionId::for_tests(1), SessionId::for_tests(2));
    let mut registry = Registry::default();
    let handle = registry.connect(holder, SignalName::Stop, None).unwrap();
    assert!(registry.disconnect(other, handle).is_none());
    assert!(registry.disconnect(holder, handle).is_some());
    assert!(registry.disconnect(holder, handle).is_none());
    assert!(handles(&registry, &Event::Stop).is_empty());
}

#[test]
fn a_session_that_leaves_leaves_nothing_behind() {
    let session = SessionId::for_tests(1);
    let mut registry = Registry::default();
    for _ in 0..10 {
        registry.connect(session, SignalName::Stop, None).unwrap();
    }
    assert_eq!(registry.held_by(session), 10);
    registry.leave(session);
    assert_eq!(registry.held_by(session), 0);
    assert!(registry.connections.is_empty() && registry.by_session.is_empty());
    assert!(handles(&registry, &Event::Stop).is_empty());
}
