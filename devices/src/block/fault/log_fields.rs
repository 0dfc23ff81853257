//! The form of fields of a fault log, for serde.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::block::model::request::SECTOR_SIZE;

/// The unit of a torn write's end; other values are refused.
pub(super) fn tear_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let bytes = u32::deserialize(from)?;
    if bytes.is_power_of_two() && u64::from(bytes) <= SECTOR_SIZE {
        Ok(bytes)
    } else {
        let text = format!("'tear-bytes' is {bytes}, which is not a power of two up to 512");
        Err(D::Error::custom(text))
    }
}

/// An errno as its number.
pub(super) mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::block::model::errno::Errno;

    pub(in crate::block::fault) fn serialize<S: Serializer>(
        errno: &Errno,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_i32(errno.0)
    }

    pub(in crate::block::fault) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Errno, D::Error> {
        let number = i32::deserialize(from)?;
        // A system call's range.
        if (1..=4095).contains(&number) {
            return Ok(Errno(number));
        }
        let message = format!("{number} is no errno");
        Err(serde::de::Error::custom(message))
    }
}

/// An errno as its number, or null.
pub(super) mod optional_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::block::model::errno::Errno;

    #[expect(clippy::ref_option, reason = "this is how the derived code calls it")]
    pub(in crate::block::fault) fn serialize<S: Serializer>(
        errno: &Option<Errno>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        errno.map(|errno| errno.0).serialize(to)
    }

    pub(in crate::block::fault) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Errno>, D::Error> {
        #[derive(Deserialize)]
        struct Given(#[serde(with = "super::number")] Errno);

        let given: Option<Given> = Option::deserialize(from)?;
        Ok(given.map(|Given(errno)| errno))
    }
}

/// What is kept, by its name in the schema.
pub(super) mod survival {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::block::model::power_cut::Survival;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case", remote = "Survival")]
    enum Names {
        None,
        All,
        Prefix,
        Random,
    }

    pub(in crate::block::fault) fn serialize<S: Serializer>(
        survival: &Survival,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Names::serialize(survival, to)
    }

    pub(in crate::block::fault) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Survival, D::Error> {
        Names::deserialize(from)
    }
}
