//! Times as `timeout` and `sleep` read them.

use std::time::Duration;

/// The units and their lengths in seconds. `ms` comes before `m` and `s`.
const UNITS: [(&str, f64); 5] = [
    ("ms", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// Reads `90`, `1.5s`, `200ms`, `2m`, `1h` or `1d`.
///
/// # Errors
///
/// It is no time, or not more than none.
pub fn parse(text: &str) -> Result<Duration, String> {
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, length) = unit.map_or((text, 1.0), |(unit, length)| {
        (&text[..text.len() - unit.len()], *length)
    });
    let number: f64 = number
        .parse()
        .map_err(|_| "not a time such as 90, 1.5s, 200ms or 2m".to_owned())?;
    match Duration::try_from_secs_f64(number * length) {
        Ok(Duration::ZERO) => Err("must be more than zero".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, milliseconds) in [
            ("90", 90_000),
            ("1.5s", 1_500),
            ("200ms", 200),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "", "s", "-1", "nan", "inf", "1e400", "0", "0ms", "1x", "1 s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
