//! QEMU's option syntax, for the whole command line: `key=value,key=value`, with `,,` for a comma in a value.
//!
//! [`parts`] splits an option and knows no key. [`KeyValues`] holds the pairs of an option whose keys are known and given
//! once each, which is most of them; monitor addresses, whose keys may stand alone, and rules for faults, whose keys have
//! dots and lists, read the parts themselves. All of them share the words ([`switch`], [`nearest`]) and the errors
//! ([`OptionError`]).

mod error;
mod key_values;
mod parts;
mod words;

pub use error::OptionError;
pub use key_values::{KeyValues, Word};
pub use parts::{Part, parts};
pub use words::{nearest, suggestion, switch};
