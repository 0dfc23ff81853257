//! `FAULTVISOR_LOG`: the log's level.

use std::env;
use std::ffi::OsStr;

use tracing_subscriber::filter::LevelFilter;

/// The variable's name.
const VARIABLE: &str = "FAULTVISOR_LOG";

/// Its values.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
    ("off", LevelFilter::OFF),
];

/// An unknown level.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE}: '{given}' is not one of error, warn, info, debug, trace, off")]
pub struct LevelError {
    given: String,
}

/// The level in the environment; warnings and errors by default, or if it is empty.
///
/// # Errors
///
/// [`LevelError`] if it is unknown.
pub(super) fn from_environment() -> Result<LevelFilter, LevelError> {
    parse(env::var_os(VARIABLE).as_deref())
}

fn parse(given: Option<&OsStr>) -> Result<LevelFilter, LevelError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(LevelFilter::WARN);
    };
    let known = LEVELS
        .iter()
        .find(|(name, _)| given.eq_ignore_ascii_case(name));
    known.map(|(_, level)| *level).ok_or_else(|| LevelError {
        given: given.to_string_lossy().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn each_level_is_known_by_its_name_and_nothing_else_is_one() {
        for (name, level) in LEVELS {
            assert_eq!(parse(Some(name.as_ref())).unwrap(), level);
            assert_eq!(parse(Some(name.to_uppercase().as_ref())).unwrap(), level);
        }
        assert_eq!(parse(None).unwrap(), LevelFilter::WARN);
        assert_eq!(parse(Some(OsStr::new(""))).unwrap(), LevelFilter::WARN);
        for wrong in [&b"x"[..], b"3", b"warning", b"info ", b"\xff"] {
            let error = parse(Some(OsStr::from_bytes(wrong))).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("FAULTVISOR_LOG: '"), "{text}");
            assert!(
                text.ends_with("error, warn, info, debug, trace, off"),
                "{text}"
            );
        }
    }
}
