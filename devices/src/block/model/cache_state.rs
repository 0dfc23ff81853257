//! The content of a volatile cache as plain data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errno::Errno;
use super::request::{Range, Zeroing};

/// What a volatile cache holds that is not on the medium.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheState {
    /// In the order of completion. Those that the medium refused are the oldest.
    pub changes: Vec<ChangeState>,
    /// The medium's last error for a change.
    pub last_error: Option<Errno>,
}

/// A completed write, write-zeroes or discard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeState {
    /// Its ranges, in bytes; one for a write.
    pub ranges: Vec<Range>,
    /// The new content.
    pub content: ContentState,
    /// Why the medium refused it, until it is retried.
    pub refused: Option<Errno>,
}

/// The new content of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContentState {
    /// These bytes.
    Data(Bytes),
    /// Zeroes.
    Zeroes(Zeroing),
    /// Unspecified.
    Discarded,
}

/// Bytes, serialised in base64 (RFC 4648 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let bytes = STANDARD.decode(&*text);
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}
