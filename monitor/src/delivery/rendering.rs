//! The form of a connection's events, and the members that mark them as the connection's.
//!
//! The encoder makes the head of a line, which connections share; each connection keeps its tail.

use std::rc::Rc;

use serde_json::value::RawValue;

use crate::identity::Handle;
use crate::wire::codec::LINE_END;
use crate::wire::event::{EncodedEvent, Form};
use crate::wire::objects;
use crate::wire::protocol::Protocol;

/// The form and the marks of a connection's events.
#[derive(Debug)]
pub(crate) struct Rendering {
    form: Form,
    /// The members that mark events as the connection's.
    mark: Box<str>,
    /// What follows an event's head: the mark, what closes the form's objects, and the end of the line.
    tail: Rc<[u8]>,
}

impl Rendering {
    /// Of default events, which carry no mark.
    pub(crate) fn unasked() -> Self {
        Self::marked(Form::Event, "")
    }

    /// For a connection with a handle.
    pub(crate) fn tagged(form: Form, handle: Handle) -> Self {
        Self::marked(form, &format!(", \"tag\": {handle}"))
    }

    /// For a connection that its client named.
    pub(crate) fn named(form: Form, id: &RawValue) -> Self {
        Self::marked(form, &format!(", \"id\": {}", id.get()))
    }

    /// For a connection to an object.
    pub(crate) fn object(protocol: Protocol, handle: Handle) -> Self {
        let form = match protocol {
            Protocol::Qmp => Form::Signal,
            Protocol::JsonRpc => Form::Notification,
        };
        let mark = format!(
            ", \"connection\": {{\"__jsonclass__\": \"{}\", \"id\": {handle}}}",
            objects::CONNECTION
        );
        Self::marked(form, &mark)
    }

    /// The same, for events replayed to a late subscriber.
    pub(crate) fn initial(&self) -> Self {
        Self::marked(self.form, &format!("{}, \"initial\": true", self.mark))
    }

    fn marked(form: Form, mark: &str) -> Self {
        let tail = [mark.as_bytes(), form.closing().as_bytes(), LINE_END].concat();
        Self {
            form,
            mark: mark.into(),
            tail: tail.into(),
        }
    }

    /// The two pieces of an event's line.
    pub(crate) fn pieces(&self, event: &EncodedEvent) -> [Rc<[u8]>; 2] {
        [Rc::clone(event.head(self.form)), Rc::clone(&self.tail)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::event::Timestamp;
    use faultvisor_schema::{
        BlockErrorAction, BlockIoError, Event, EventsLost, IoOperationType, Notice, Shutdown,
        ShutdownCause,
    };
    use serde_json::json;

    const AT: Timestamp = Timestamp {
        seconds: 5,
        microseconds: 7,
    };

    fn line(rendering: &Rendering, event: &EncodedEvent) -> String {
        let pieces = rendering.pieces(event);
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn shutdown() -> EncodedEvent {
        let data = Shutdown {
            guest: true,
            reason: ShutdownCause::GuestReset,
        };
        EncodedEvent::event(&Event::Shutdown(data), AT).unwrap()
    }

    fn id(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_event_with_data_has_it_before_its_time() {
        assert_eq!(
            line(&Rendering::unasked(), &shutdown()),
            "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}, \
             \"timestamp\": {\"seconds\": 5, \"microseconds\": 7}}\r\n"
        );
    }

    #[test]
    fn an_event_without_data_has_no_such_member() {
        let stop = EncodedEvent::event(&Event::Stop, AT).unwrap();
        let tagged = Rendering::tagged(Form::Event, Handle::for_tests(32));
        assert_eq!(
            line(&tagged, &stop),
            "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 5, \"microseconds\": 7}, \
             \"tag\": 32}\r\n"
        );
        let named = Rendering::named(Form::Notification, &id("[1]")).initial();
        assert_eq!(
            line(&named, &stop),
            "{\"jsonrpc\": \"2.0\", \"method\": \"STOP\", \"params\": {\"timestamp\": \
             {\"seconds\": 5, \"microseconds\": 7}, \"id\": [1], \"initial\": true}}\r\n"
        );
    }

    #[test]
    fn every_event_has_its_data_in_every_form() {
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        for event in events() {
            let whole = serde_json::to_value(&event).unwrap();
            let encoded = EncodedEvent::event(&event, AT).unwrap();
            let told = read(line(&Rendering::unasked(), &encoded).as_bytes());
            assert_eq!(told["event"], whole["event"]);
            assert_eq!(told.get("data"), whole.get("data"), "{told}");
            let signal = Rendering::object(Protocol::Qmp, Handle::for_tests(1));
            let told = read(line(&signal, &encoded).as_bytes());
            let data = whole.get("data").cloned().unwrap_or(json!({}));
            assert_eq!(told["arguments"], data, "{told}");
            let notification = Rendering::tagged(Form::Notification, Handle::for_tests(1));
            let told = read(line(&notification, &encoded).as_bytes());
            assert_eq!(told["params"].get("data"), whole.get("data"), "{told}");
        }
    }

    /// An event of each kind: with data and without, and with text that has to be escaped.
    fn events() -> Vec<Event> {
        let quoted = "\"}, \"data\": {\u{e4}\\\n";
        let error = BlockIoError {
            qom_path: quoted.to_owned(),
            device: quoted.to_owned(),
            node_name: None,
            operation: IoOperationType::Read,
            action: BlockErrorAction::Report,
            nospace: Some(false),
            reason: quoted.to_owned(),
        };
        let shutdown = Shutdown {
            guest: false,
            reason: ShutdownCause::HostSignal,
        };
        vec![
            Event::Stop,
            Event::Powerdown,
            Event::Shutdown(shutdown),
            Event::BlockIoError(error),
        ]
    }

    #[test]
    fn a_notice_is_spelled_as_the_contract_spells_it() {
        let lost = EventsLost {
            event: "STOP".to_owned(),
            count: 3,
        };
        let lost = EncodedEvent::notice(&Notice::EventsLost(lost)).unwrap();
        assert_eq!(
            line(&Rendering::unasked(), &lost),
            "{\"event\": \"EVENTS_LOST\", \"data\": {\"event\": \"STOP\", \"count\": 3}}\r\n"
        );
    }

    #[test]
    fn every_rendering_carries_the_same_event() {
        let event = shutdown();
        let handle = Handle::for_tests(33);
        let data = json!({"guest": true, "reason": "guest-reset"});
        let timestamp = json!({"seconds": 5, "microseconds": 7});
        let read = |rendering: &Rendering| -> serde_json::Value {
            serde_json::from_str(&line(rendering, &event)).unwrap()
        };
        assert_eq!(
            read(&Rendering::object(Protocol::Qmp, handle)),
            json!({"signal": "shutdown", "connection": {"__jsonclass__": "Connection", "id": 33},
                   "arguments": data, "timestamp": timestamp})
        );
        assert_eq!(
            read(&Rendering::tagged(Form::Notification, handle)),
            json!({"jsonrpc": "2.0", "method": "SHUTDOWN",
                   "params": {"data": data, "timestamp": timestamp, "tag": 33}})
        );
        assert_eq!(
            read(&Rendering::named(Form::Event, &id("\"bar\"")).initial()),
            json!({"event": "SHUTDOWN", "data": data, "timestamp": timestamp, "id": "bar", "initial": true})
        );
    }
}
