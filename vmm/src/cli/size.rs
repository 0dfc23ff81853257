//! QEMU's sizes: `512M`, `2G`, `1.5G`; a number without a suffix has the option's own unit.

/// A text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size such as 512M or 2G")]
pub struct SizeError(String);

/// Parses a size in bytes. `default_suffix` is the unit of a number without a suffix.
///
/// # Errors
///
/// [`SizeError`] if it is not a number, has an unknown suffix, or is out of range.
pub fn parse_size(text: &str, default_suffix: char) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let suffix = text.chars().last().filter(char::is_ascii_alphabetic);
    let number = text.strip_suffix(|last: char| last.is_ascii_alphabetic());
    let shift = match suffix.unwrap_or(default_suffix).to_ascii_uppercase() {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return Err(error()),
    };
    let (whole, fraction) = number
        .unwrap_or(text)
        .split_once('.')
        .unwrap_or((number.unwrap_or(text), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(error());
    }
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let unit = 1u64 << shift;
    let fraction_bytes = match fraction {
        "" => 0,
        digits => {
            let value: u128 = digits.parse().map_err(|_| error())?;
            let bytes =
                value * u128::from(unit) / 10u128.pow(u32::try_from(digits.len()).unwrap_or(9));
            u64::try_from(bytes).map_err(|_| error())?
        }
    };
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(fraction_bytes))
        .ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_qemu_reads_them() {
        let mebibytes = |text| parse_size(text, 'M').map(|bytes| bytes >> 20);
        assert_eq!(mebibytes("512"), Ok(512));
        assert_eq!(mebibytes("512M"), Ok(512));
        assert_eq!(mebibytes("2g"), Ok(2048));
        assert_eq!(mebibytes("1.5G"), Ok(1536));
        assert_eq!(parse_size("4096", 'B'), Ok(4096));
        assert_eq!(parse_size("64k", 'M'), Ok(65536));
    }

    #[test]
    fn an_invalid_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "1x",
            "1.5.5G",
            "99999999999T",
            "0x10",
            ".5G",
            "1 G",
        ] {
            assert!(parse_size(text, 'M').is_err(), "{text}");
        }
    }
}
