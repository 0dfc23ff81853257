//! What holds of any bytes that the other side can send, as functions that panic where it does not: for the fuzz
//! target `agent` in `fuzz/`, and for the tests of this crate.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a property that does not hold is told by a panic"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::frame::{self, Decoder, Frame, Kind};
use crate::hello::Hello;
use crate::request::{Entry, Request};
use crate::run::{Exit, Lost};

/// Any division of an input into pieces gives the same frames and the same error, and a message that is understood
/// is sent as one that is understood alike.
pub fn agent(input: &[u8]) {
    let whole = decode([input]);
    assert_eq!(decode(input.chunks(1)), whole);
    assert_eq!(decode(input.chunks(7)), whole);
    assert_eq!(read_all(input), whole);
    for (kind, payload) in &whole.0 {
        message(Frame {
            kind: *kind,
            payload,
        });
    }
}

type Decoded = (Vec<(Kind, Vec<u8>)>, Option<String>);

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push((frame.kind, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        assert!(decoder.pending() < frame::HEADER_BYTES + frame::PAYLOAD_BYTES);
    }
    let ended = frame::FrameError::Ended.to_string();
    (frames, (decoder.pending() > 0).then_some(ended))
}

fn read_all(mut input: &[u8]) -> Decoded {
    let mut frames = Vec::new();
    let mut buffer = Vec::new();
    loop {
        match frame::read(&mut input, &mut buffer) {
            Ok(Some(frame)) => frames.push((frame.kind, frame.payload.to_vec())),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.to_string())),
        }
    }
}

fn message(frame: Frame<'_>) {
    match frame.kind {
        Kind::Hello => is_stable::<Hello>(frame),
        Kind::Request => is_stable::<Request>(frame),
        Kind::Failure => is_stable::<Failure>(frame),
        Kind::Lost => is_stable::<Lost>(frame),
        Kind::Exit => is_stable::<Exit>(frame),
        Kind::Entry => {
            is_stable::<Entry>(frame);
            if let Ok(entry) = frame.message::<Entry>(Kind::Entry)
                && let Some(names) = entry.names()
            {
                for name in names {
                    assert!(!name.is_empty() && name != b"." && name != b"..");
                    assert!(!name.contains(&b'/') && !name.contains(&0));
                }
            }
        }
        _ => {}
    }
}

fn is_stable<T: Serialize + DeserializeOwned>(frame: Frame<'_>) {
    if let Ok(message) = frame.message::<T>(frame.kind) {
        let sent = serde_json::to_vec(&message).unwrap();
        let understood: T = serde_json::from_slice(&sent).unwrap();
        assert_eq!(serde_json::to_vec(&understood).unwrap(), sent);
    }
}
