//! What the server says, in bytes: one JSON object a line, in ASCII.

use std::fmt::Write as _;
use std::io;

use faultvisor_schema::{QMPCapability, VersionInfo};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// What ends a line.
pub(crate) const LINE_END: &[u8] = b"\r\n";

/// JSON as QMP's server writes it: a space after each colon and comma, and nothing but ASCII.
pub(crate) struct Ascii;

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

/// Whether a text has neither control characters nor characters beyond ASCII.
pub(crate) fn is_plain(text: &str) -> bool {
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

/// A value as QMP's server writes it.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii))?;
    Ok(bytes)
}

/// Writes part of an event as QMP's server does, if there is that part.
pub(crate) fn encode_part(
    part: impl FnOnce(&mut Serializer<&mut Vec<u8>, Ascii>) -> Option<serde_json::Result<()>>,
) -> serde_json::Result<Option<String>> {
    let mut bytes = Vec::with_capacity(128);
    let written = part(&mut Serializer::with_formatter(&mut bytes, Ascii)).transpose()?;
    Ok(written.map(|()| String::from_utf8_lossy(&bytes).into_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use faultvisor_schema::VersionTriple;

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
}
