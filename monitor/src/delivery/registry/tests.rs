use faultvisor_schema::{BlockErrorAction, BlockIoError, IoOperationType};

use super::*;
use crate::budget::SHARE;
use crate::identity::LAST_HANDLE;

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

fn tagged(
    registry: &mut Registry,
    session: SessionId,
    signal: SignalName,
    device: Option<&str>,
) -> Handle {
    let wanted = Wanted {
        session,
        signal,
        device: device.map(str::to_owned),
    };
    registry.connect_tagged(wanted, Form::Event).unwrap()
}

fn named(registry: &mut Registry, session: SessionId, name: &str) -> Result<Handle, ConnectError> {
    let wanted = Wanted {
        session,
        signal: SignalName::Stop,
        device: None,
    };
    let id = RawValue::from_string(name.to_owned()).unwrap();
    registry.connect_named(wanted, Form::Event, &id, name.to_owned())
}

#[test]
fn handles_are_unique_for_the_process() {
    let session = SessionId::for_tests(1);
    let (mut one, mut other) = (Registry::default(), Registry::default());
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        assert!(seen.insert(tagged(&mut one, session, SignalName::Stop, None)));
        assert!(seen.insert(tagged(&mut other, session, SignalName::Stop, None)));
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
    let all = tagged(&mut registry, session, SignalName::BlockIoError, None);
    let one = tagged(
        &mut registry,
        session,
        SignalName::BlockIoError,
        Some("disk1"),
    );
    tagged(&mut registry, session, SignalName::Stop, None);
    assert_eq!(handles(&registry, &io_error("disk0")), [all]);
    assert_eq!(handles(&registry, &io_error("disk1")), [all, one]);
}

#[test]
fn a_handle_is_given_back_once_and_by_its_holder_as_what_it_is() {
    let (holder, other) = (SessionId::for_tests(1), SessionId::for_tests(2));
    let mut registry = Registry::default();
    let handle = tagged(&mut registry, holder, SignalName::Stop, None);
    assert!(!registry.disconnect(other, handle, &Hold::Tag));
    assert!(!registry.disconnect(holder, handle, &Hold::Object));
    assert!(registry.disconnect(holder, handle, &Hold::Tag));
    assert!(!registry.disconnect(holder, handle, &Hold::Tag));
    assert!(handles(&registry, &Event::Stop).is_empty());
}

#[test]
fn a_name_is_one_connection_of_its_session() {
    let (session, other) = (SessionId::for_tests(1), SessionId::for_tests(2));
    let mut registry = Registry::default();
    let handle = named(&mut registry, session, "\"a\"").unwrap();
    assert_eq!(
        named(&mut registry, session, "\"a\""),
        Err(ConnectError::InUse("a".to_owned()))
    );
    assert!(named(&mut registry, other, "\"a\"").is_ok());
    assert_eq!(registry.named(session, "\"a\""), Some(handle));
    assert!(registry.disconnect(session, handle, &Hold::Name("\"a\"".to_owned())));
    assert_eq!(registry.named(session, "\"a\""), None);
    assert!(named(&mut registry, session, "\"a\"").is_ok());
}

#[test]
fn the_names_of_a_session_have_a_bound_that_is_given_back() {
    let session = SessionId::for_tests(1);
    let mut registry = Registry::default();
    let name = |number: usize| format!("\"{number:0>50000}\"");
    let made = (0..).take_while(|number| named(&mut registry, session, &name(*number)).is_ok());
    let made = made.count();
    assert_eq!(made, NAMES_LIMIT / (3 * 50_002));
    let one = registry.named(session, &name(0)).unwrap();
    assert!(registry.disconnect(session, one, &Hold::Name(name(0))));
    assert!(named(&mut registry, session, &name(made)).is_ok());
    assert_eq!(
        named(&mut registry, session, &name(made + 1)),
        Err(ConnectError::NamesTooLong)
    );
}

#[test]
fn a_session_that_leaves_leaves_nothing_behind() {
    let session = SessionId::for_tests(1);
    let mut registry = Registry::default();
    for number in 0..10 {
        tagged(&mut registry, session, SignalName::Stop, None);
        named(&mut registry, session, &number.to_string()).unwrap();
    }
    assert_eq!(handles(&registry, &Event::Stop).len(), 20);
    registry.leave(session);
    assert!(registry.connections.is_empty() && registry.by_session.is_empty());
    assert!(handles(&registry, &Event::Stop).is_empty());
}

#[test]
fn the_connections_of_all_sessions_are_bounded_and_each_session_has_a_share() {
    let mut registry = Registry::default();
    let wanted = |session| Wanted {
        session: SessionId::for_tests(session),
        signal: SignalName::Stop,
        device: None,
    };
    let mut made = 0;
    let mut refused = None;
    for session in 0..20 {
        while refused.is_none() {
            match registry.connect_tagged(wanted(session), Form::Event) {
                Ok(_) => made += 1,
                Err(ConnectError::TooMany) => break,
                Err(error) => refused = Some(error),
            }
        }
    }
    assert_eq!(refused, Some(ConnectError::NoRoom));
    assert_eq!(made, TOTAL_LIMIT / CONNECTION_COST);
    // Whoever comes now has its share, and no more.
    let share = SHARE / CONNECTION_COST;
    for _ in 0..share {
        registry.connect_tagged(wanted(20), Form::Event).unwrap();
    }
    let error = registry.connect_tagged(wanted(20), Form::Event);
    assert_eq!(error.unwrap_err(), ConnectError::NoRoom);
    // And what others leave.
    registry.leave(SessionId::for_tests(0));
    registry.connect_tagged(wanted(20), Form::Event).unwrap();
    assert!(registry.budget().is_worth_returning());
}
