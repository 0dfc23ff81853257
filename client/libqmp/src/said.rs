//! Values from a server, kept as text: most are decoded once, by code that knows their type.

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

    /// Decodes it as any type.
    pub(crate) fn value(&self) -> Result<Value, String> {
        serde_json::from_str(self.text()).map_err(|error| error.to_string())
    }

    /// Decodes it as this type; or says what does not match.
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

/// An object, without members if there is none.
#[derive(Clone, Debug)]
pub(crate) struct Data(Option<Said>);

impl Data {
    /// `None` if it is not an object.
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

    /// Decodes it as this type; or says what does not match.
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
    // A value that does not match is decoded again, by code that can say why.
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    T::decode(value, &Path::ANSWER).map_err(|error| error.desc)
}
