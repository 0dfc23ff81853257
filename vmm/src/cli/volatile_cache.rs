//! The part of `--drive` that adds a volatile write cache in front of the image.

use super::size::parse_size;
use faultvisor_monitor::option_syntax::{KeyValues, OptionError, switch};

/// The keys.
pub(super) const KEYS: &[&str] = &[CACHE, SIZE];

const CACHE: &str = "volatile-cache";

const SIZE: &str = "volatile-cache-size";

/// The default size in bytes.
const DEFAULT: u64 = 64 << 20;

/// The minimum size in bytes: many times the cost of the smallest write.
const LEAST: u64 = 64 << 10;

/// Parses the size of a drive's volatile cache in bytes; `None` if it has none. `possible` is the error if the rest of
/// the drive excludes one.
pub(super) fn take(
    keys: &mut KeyValues,
    possible: Result<(), &'static str>,
) -> Result<Option<u64>, OptionError> {
    let on = |word: &str| match switch(word) {
        Ok(true) => possible.map(|()| true),
        other => other,
    };
    let is_on = keys.take_with(CACHE, on)?.unwrap_or(false);
    let size = |word: &str| match is_on {
        true => size(word),
        false => Err(format!("there is no cache without {CACHE}=on")),
    };
    let size = keys.take_with(SIZE, size)?;
    Ok(is_on.then_some(size.unwrap_or(DEFAULT)))
}

fn size(word: &str) -> Result<u64, String> {
    match parse_size(word, 'B').map_err(|error| error.to_string())? {
        size if size < LEAST => Err(format!("less than {LEAST} bytes")),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<u64>, String> {
        let keys = KeyValues::parse(text, KEYS);
        let taken = keys.and_then(|mut keys| take(&mut keys, Ok(())));
        taken.map_err(|error| error.to_string())
    }

    #[test]
    fn a_cache_is_there_when_it_is_asked_for_and_as_large() {
        assert_eq!(parse("volatile-cache=off"), Ok(None));
        assert_eq!(parse("volatile-cache=on"), Ok(Some(64 << 20)));
        let size = |size| parse(&format!("volatile-cache=on,volatile-cache-size={size}"));
        assert_eq!(size("1M"), Ok(Some(1 << 20)));
        assert_eq!(size("65536"), Ok(Some(65536)));
    }

    #[test]
    fn an_invalid_volatile_cache_is_refused_with_the_reason() {
        let error = |text| parse(text).unwrap_err();
        let small = "volatile-cache=on,volatile-cache-size=63K";
        assert_eq!(
            error(small),
            "volatile-cache-size=63K: less than 65536 bytes"
        );
        let reason = "volatile-cache-size=1M: there is no cache without volatile-cache=on";
        assert_eq!(error("volatile-cache-size=1M"), reason);
        assert_eq!(error("volatile-cache=off,volatile-cache-size=1M"), reason);
        assert_eq!(
            error("volatile-cache=on,volatile-cache-size=big"),
            "volatile-cache-size=big: 'big' is not a size such as 512M or 2G"
        );
        assert_eq!(
            error("volatile-cache=1"),
            "volatile-cache=1: expected on or off"
        );
    }
}
