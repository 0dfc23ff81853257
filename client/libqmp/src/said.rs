//! What a server says, as it says it: most of it is read once, and by who knows its type.

use faultvisor_schema::{Decode, Path};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A value, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Said(Box<RawValue>);

impl Said {
    /// Its text.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    /// What it is, of whatever type.
    pub(crate) fn value(&self) -> Result<Value, String> {
        serde_json::from_str(self.text()).map_err(|error| error.to_string())
    }

    /// What it is, of that type; or what of it is not.
    pub(crate) fn read<T: Decode + DeserializeOwned>(&self) -> Result<T, String> {
        read(self.text())
    }
}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(Self)
    }
}

/// An object, which is one without members where nothing is said.
#[derive(Clone, Debug)]
pub(crate) struct Data(Option<Said>);

impl Data {
    /// Nothing if it is no object.
    pub(crate) fn of(said: Option<Said>) -> Option<Self> {
        let is_object = |said: &Said| said.text().starts_with('{');
        said.as_ref().is_none_or(is_object).then_some(Self(said))
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        self.0.as_ref().map_or("{}", Said::text)
    }

    /// Its members.
    pub(crate) fn members(&self) -> Result<Map<String, Value>, String> {
        serde_json::from_str(self.text()).map_err(|error| error.to_string())
    }

    /// One of them.
    pub(crate) fn member(&self, name: &str) -> Option<Value> {
        self.members().ok()?.remove(name)
    }

    /// What it is, of that type; or what of it is not.
    pub(crate) fn read<T: Decode + DeserializeOwned>(&self) -> Result<T, String> {
        read(self.text())
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

fn read<T: Decode + DeserializeOwned>(text: &str) -> Result<T, String> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    // What does not fit is looked at once more, by who can say what it is.
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    T::decode(value, &Path::ANSWER).map_err(|error| error.desc)
}
