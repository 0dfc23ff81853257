//! What the server says, in bytes: one JSON object a line, in ASCII.

use std::fmt::Write as _;
use std::io;
use std::rc::Rc;

use faultvisor_schema::{CommandError, Event, Notice, QMPCapability, VersionInfo};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::value::RawValue;

use crate::inbox::Timestamp;
use crate::registry::Handle;

/// What ends a line.
const LINE_END: &[u8] = b"\r\n";

/// JSON as QMP's server writes it: a space after each colon and comma, and nothing but ASCII.
struct Ascii;

impl Formatter for Ascii {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if is_plain(fragment) {
            writer.write_all(fragment.as_bytes())
        } else {
            writer.write_all(ascii(fragment).as_bytes())
        }
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// The same JSON text with every character beyond ASCII escaped. Such characters stand in strings only.
pub(crate) fn ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() && character != '\x7f' {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

fn encode<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii))?;
    Ok(bytes)
}

fn line<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = encode(value)?;
    bytes.extend_from_slice(LINE_END);
    Ok(bytes)
}

/// The line that a session starts with.
pub(crate) fn greeting(
    version: &VersionInfo,
    capabilities: &[QMPCapability],
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Body<'a> {
        version: &'a VersionInfo,
        capabilities: &'a [QMPCapability],
    }
    #[derive(Serialize)]
    struct Greeting<'a> {
        #[serde(rename = "QMP")]
        body: Body<'a>,
    }
    line(&Greeting {
        body: Body {
            version,
            capabilities,
        },
    })
}

/// The line that answers a request.
pub(crate) fn answer<T: Serialize>(
    result: &Result<T, CommandError>,
    id: Option<&RawValue>,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Answer<'a, T> {
        #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
        value: Option<&'a T>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a CommandError>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
    }
    line(&Answer {
        value: result.as_ref().ok(),
        error: result.as_ref().err(),
        id,
    })
}

/// An event without its last brace: what follows says whose it is.
pub(crate) fn event(event: &Event, timestamp: Timestamp) -> serde_json::Result<Rc<[u8]>> {
    #[derive(Serialize)]
    struct Stamped<'a> {
        #[serde(flatten)]
        event: &'a Event,
        timestamp: Timestamp,
    }
    encode(&Stamped { event, timestamp }).map(open)
}

/// A notice without its last brace.
pub(crate) fn notice(notice: &Notice) -> serde_json::Result<Rc<[u8]>> {
    encode(notice).map(open)
}

fn open(mut object: Vec<u8>) -> Rc<[u8]> {
    object.pop();
    object.into()
}

/// What ends an event that arrives unasked.
pub(crate) fn untagged() -> Rc<[u8]> {
    Rc::from([b"}", LINE_END].concat())
}

/// What ends an event that arrives on a connection.
pub(crate) fn tagged(handle: Handle) -> Rc<[u8]> {
    let mut tail = format!(", \"tag\": {handle}}}").into_bytes();
    tail.extend_from_slice(LINE_END);
    tail.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultvisor_schema::{EventsLost, Shutdown, ShutdownCause, VersionTriple};

    const AT: Timestamp = Timestamp {
        seconds: 5,
        microseconds: 7,
    };

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_greeting_is_spelled_as_the_contract_spells_it() {
        let qemu = VersionTriple {
            micro: 0,
            minor: 0,
            major: 10,
        };
        let version = VersionInfo {
            qemu,
            package: "faultvisor 1.2.3".to_owned(),
        };
        assert_eq!(
            text(&greeting(&version, &[QMPCapability::Oob]).unwrap()),
            "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 10}, \
             \"package\": \"faultvisor 1.2.3\"}, \"capabilities\": [\"oob\"]}}\r\n"
        );
    }

    #[test]
    fn server_output_is_one_line_of_ascii() {
        let value = "a\"\\\n\u{1}\u{7f}ä€𝄞".to_owned();
        let line = answer(&Ok::<_, CommandError>(value.clone()), None).unwrap();
        let body = line.strip_suffix(b"\r\n").unwrap();
        assert!(is_plain(text(body)), "{}", text(body));
        assert!(text(body).contains("\\ud834\\udd1e"));
        let read: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(read["return"], value);
    }

    #[test]
    fn an_event_with_data_has_it_before_its_time() {
        let data = Shutdown {
            guest: true,
            reason: ShutdownCause::GuestReset,
        };
        let mut line = event(&Event::Shutdown(data), AT).unwrap().to_vec();
        line.extend_from_slice(&untagged());
        assert_eq!(
            text(&line),
            "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}, \
             \"timestamp\": {\"seconds\": 5, \"microseconds\": 7}}\r\n"
        );
    }

    #[test]
    fn an_event_without_data_has_no_such_member() {
        let mut line = event(&Event::Stop, AT).unwrap().to_vec();
        line.extend_from_slice(&tagged(Handle::for_tests(32)));
        assert_eq!(
            text(&line),
            "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 5, \"microseconds\": 7}, \
             \"tag\": 32}\r\n"
        );
    }

    #[test]
    fn a_notice_is_spelled_as_the_contract_spells_it() {
        let lost = EventsLost {
            event: "STOP".to_owned(),
            count: 3,
        };
        assert_eq!(
            text(&notice(&Notice::EventsLost(lost)).unwrap()),
            "{\"event\": \"EVENTS_LOST\", \"data\": {\"event\": \"STOP\", \"count\": 3}"
        );
    }
}
