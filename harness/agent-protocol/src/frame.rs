//! Frames: what both directions of a connection consist of.
//!
//! A frame is a length of four bytes (little-endian, of what follows it), a byte for its kind, and a payload.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest payload in bytes.
pub const PAYLOAD_BYTES: usize = 64 << 10;
/// The bytes before a payload.
pub const HEADER_BYTES: usize = 5;
/// The largest data payload that is sent at once.
pub const CHUNK_BYTES: usize = 32 << 10;
/// The bytes of a decoder's one read.
const READ_BYTES: usize = 64 << 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Both sides: a [`Hello`](crate::hello::Hello), once, first.
    Hello = 1,
    /// To the agent: a [`Request`](crate::request::Request), once, after the hello.
    Request = 2,
    /// From the agent: the request is carried out, or has begun.
    Answer = 3,
    /// Either side: a [`Failure`](crate::failure::Failure), which ends the operation.
    Failure = 4,
    /// To the agent: bytes for a program's stdin.
    Input = 16,
    /// To the agent: the end of stdin. Its payload is empty.
    InputEnd = 17,
    /// From the agent: bytes of a program's stdout.
    Output = 18,
    /// From the agent: bytes of a program's stderr.
    Errors = 19,
    /// From the agent: a [`Lost`](crate::run::Lost), in place of bytes that are not kept any more.
    Lost = 20,
    /// From the agent: an [`Exit`](crate::run::Exit), after all output.
    Exit = 21,
    /// To the agent: the exit has been received, and the agent may forget the run. Its payload is empty.
    Done = 22,
    /// Either side: an [`Entry`](crate::request::Entry) of a tree that is copied.
    Entry = 32,
    /// Either side: bytes of the file whose entry came last.
    Content = 33,
    /// Either side: the end of a tree. Its payload is empty.
    End = 34,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Hello,
        Self::Request,
        Self::Answer,
        Self::Failure,
        Self::Input,
        Self::InputEnd,
        Self::Output,
        Self::Errors,
        Self::Lost,
        Self::Exit,
        Self::Done,
        Self::Entry,
        Self::Content,
        Self::End,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why bytes are not frames of this protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length that no frame has: the other side speaks something else.
    #[error("a frame of {0} bytes: the other side does not speak the agent's protocol")]
    Length(u32),
    /// A kind that is not known.
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
    /// A frame where another one is expected.
    #[error("a frame '{found:?}' instead of '{expected:?}'")]
    Unexpected {
        /// What has arrived.
        found: Kind,
        /// What may arrive.
        expected: Kind,
    },
    /// A payload that is not the JSON of its message.
    #[error("the payload of a frame '{kind:?}' is malformed: {why}")]
    Payload {
        /// The frame's kind.
        kind: Kind,
        /// What is wrong.
        why: String,
    },
    /// A message that is longer than a frame.
    #[error("a message of {bytes} bytes, of at most {PAYLOAD_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The connection ended inside of a frame, or where one must follow.
    #[error("the connection ended")]
    Ended,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

/// A received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Decodes the message of a frame that must be of this kind.
    ///
    /// # Errors
    ///
    /// It is another frame, or its payload does not match.
    pub fn message<T: DeserializeOwned>(&self, expected: Kind) -> Result<T, FrameError> {
        if self.kind != expected {
            return Err(FrameError::Unexpected {
                found: self.kind,
                expected,
            });
        }
        serde_json::from_slice(self.payload).map_err(|error| FrameError::Payload {
            kind: expected,
            why: error.to_string(),
        })
    }
}

/// Appends a frame to `bytes`.
///
/// # Errors
///
/// The payload is longer than [`PAYLOAD_BYTES`].
pub fn append(bytes: &mut Vec<u8>, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
    bytes.extend_from_slice(&header(kind, payload.len())?);
    bytes.extend_from_slice(payload);
    Ok(())
}

/// Appends a frame with a message to `bytes`.
///
/// # Errors
///
/// The message is longer than [`PAYLOAD_BYTES`].
pub fn append_message(
    bytes: &mut Vec<u8>,
    kind: Kind,
    message: &impl Serialize,
) -> Result<(), FrameError> {
    let payload = serde_json::to_vec(message).map_err(|error| FrameError::Payload {
        kind,
        why: error.to_string(),
    })?;
    append(bytes, kind, &payload)
}

/// The bytes before a payload of this length.
///
/// # Errors
///
/// The payload is longer than [`PAYLOAD_BYTES`].
pub fn header(kind: Kind, payload: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
    let too_long = FrameError::TooLong { bytes: payload };
    let Ok(length) = u32::try_from(payload + 1) else {
        return Err(too_long);
    };
    if payload > PAYLOAD_BYTES {
        return Err(too_long);
    }
    let [a, b, c, d] = length.to_le_bytes();
    Ok([a, b, c, d, kind as u8])
}

/// The kind and the payload's length that a header states.
fn parse_header(header: [u8; HEADER_BYTES]) -> Result<(Kind, usize), FrameError> {
    let [a, b, c, d, kind] = header;
    let length = u32::from_le_bytes([a, b, c, d]);
    let payload = length
        .checked_sub(1)
        .and_then(|length| usize::try_from(length).ok());
    let payload = payload.filter(|payload| *payload <= PAYLOAD_BYTES);
    let payload = payload.ok_or(FrameError::Length(length))?;
    let kind = Kind::of(kind).ok_or(FrameError::UnknownKind(kind))?;
    Ok((kind, payload))
}

/// Writes a frame.
///
/// # Errors
///
/// The payload is too long, or the connection failed.
pub fn write(to: &mut impl Write, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    append(&mut bytes, kind, payload)?;
    Ok(to.write_all(&bytes)?)
}

/// Writes a frame with a message.
///
/// # Errors
///
/// The message is too long, or the connection failed.
pub fn write_message(
    to: &mut impl Write,
    kind: Kind,
    message: &impl Serialize,
) -> Result<(), FrameError> {
    let mut bytes = Vec::new();
    append_message(&mut bytes, kind, message)?;
    Ok(to.write_all(&bytes)?)
}

/// Reads one frame into `buffer`, and nothing beyond it; `None` at the end of the connection.
///
/// # Errors
///
/// The bytes are no frame, or the connection failed or ended inside of one.
pub fn read<'a>(
    from: &mut impl Read,
    buffer: &'a mut Vec<u8>,
) -> Result<Option<Frame<'a>>, FrameError> {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(FrameError::Ended),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (kind, length) = parse_header(header)?;
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    Ok(Some(Frame {
        kind,
        payload: buffer,
    }))
}

/// Finds frames in bytes that arrive in any pieces. It holds at most one frame and one read.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Appends bytes. Call it only when [`next`](Self::next_frame) has returned `None`, so that the memory is bounded.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends what one read returns, and returns how many bytes that is: 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of the read.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.compact();
        let end = self.buffer.len();
        self.buffer.resize(end + READ_BYTES, 0);
        let read = source.read(&mut self.buffer[end..]);
        self.buffer
            .truncate(end + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// The bytes are no frame. Later calls return the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let bytes = &self.buffer[self.start..];
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (kind, length) = parse_header(*header)?;
        let Some(payload) = bytes.get(HEADER_BYTES..HEADER_BYTES + length) else {
            return Ok(None);
        };
        self.start += HEADER_BYTES + length;
        Ok(Some(Frame { kind, payload }))
    }

    /// The bytes that are part of no whole frame yet.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing;
    use proptest::prelude::*;

    #[test]
    fn a_frame_that_is_written_is_read_and_nothing_beyond_it() {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Output, b"text").unwrap();
        append(&mut bytes, Kind::InputEnd, b"").unwrap();
        assert_eq!(bytes, b"\x05\0\0\0\x12text\x01\0\0\0\x11");
        bytes.extend_from_slice(b"raw");
        let mut from = bytes.as_slice();
        let mut buffer = Vec::new();
        let frame = read(&mut from, &mut buffer).unwrap().unwrap();
        assert_eq!(
            (frame.kind, frame.payload),
            (Kind::Output, b"text".as_slice())
        );
        let frame = read(&mut from, &mut buffer).unwrap().unwrap();
        assert_eq!(
            (frame.kind, frame.payload),
            (Kind::InputEnd, b"".as_slice())
        );
        assert_eq!(from, b"raw");
    }

    #[test]
    fn another_protocol_is_refused_by_its_first_bytes() {
        let mut decoder = Decoder::default();
        decoder.push(b"HTTP/1.1 400 Bad Request\r\n");
        for _ in 0..2 {
            let error = decoder.next_frame().unwrap_err().to_string();
            assert!(
                error.ends_with("does not speak the agent's protocol"),
                "{error}"
            );
        }
        let mut buffer = Vec::new();
        let error = read(&mut b"\0\0\0\0\x01".as_slice(), &mut buffer).unwrap_err();
        assert!(matches!(error, FrameError::Length(0)), "{error}");
        let error = read(&mut b"\x01\0\0\0\xff".as_slice(), &mut buffer).unwrap_err();
        assert!(matches!(error, FrameError::UnknownKind(255)), "{error}");
    }

    #[test]
    fn an_end_is_an_error_only_inside_of_a_frame() {
        let mut buffer = Vec::new();
        assert!(read(&mut b"".as_slice(), &mut buffer).unwrap().is_none());
        for cut in [b"\x05\0\0".as_slice(), b"\x05\0\0\0\x12te"] {
            let error = read(&mut &*cut, &mut buffer).unwrap_err();
            assert!(matches!(error, FrameError::Ended), "{error}");
        }
    }

    #[test]
    fn a_payload_beyond_the_bound_is_not_sent() {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Input, &vec![0; PAYLOAD_BYTES]).unwrap();
        let error = append(&mut bytes, Kind::Input, &vec![0; PAYLOAD_BYTES + 1]);
        assert!(matches!(error, Err(FrameError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn any_division_of_any_bytes_gives_the_same_frames(input: Vec<u8>) {
            fuzzing::agent(&input);
        }

        #[test]
        fn frames_come_back_whatever_their_pieces(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
            size in 1_usize..70,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                append(&mut bytes, Kind::Content, payload).unwrap();
            }
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(frame.payload.to_vec());
                }
            }
            prop_assert_eq!(found, payloads);
            prop_assert_eq!(decoder.pending(), 0);
        }
    }
}
