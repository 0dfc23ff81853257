//! A path here, or in a guest.

use std::path::PathBuf;
use std::str::FromStr;

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path of this host.
    Here(PathBuf),
    /// A path in a guest.
    Guest {
        /// The guest's name.
        name: String,
        /// The path there.
        path: String,
    },
}

impl FromStr for Place {
    type Err = String;

    /// `NAME:PATH` is in a guest; a path with a colon in a later component is of this host, as for `scp`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((name, path)) if !name.is_empty() && !name.contains('/') => {
                if path.is_empty() {
                    return Err(format!("'{text}' has no path"));
                }
                Ok(Self::Guest {
                    name: name.to_owned(),
                    path: path.to_owned(),
                })
            }
            _ if text.is_empty() => Err("a path must not be empty".into()),
            _ => Ok(Self::Here(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_before_a_colon_is_a_guests() {
        let guest = Place::Guest {
            name: "db".into(),
            path: "/a:b".into(),
        };
        assert_eq!("db:/a:b".parse(), Ok(guest));
        for path in ["a", "/a:b", "./db:/a", ":a"] {
            assert_eq!(path.parse(), Ok(Place::Here(path.into())));
        }
        assert!("db:".parse::<Place>().is_err());
        assert!("".parse::<Place>().is_err());
    }
}
