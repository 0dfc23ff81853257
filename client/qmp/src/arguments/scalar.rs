//! Scalars as text.

use serde_json::Value;

use crate::introspection::Scalar;

/// Converts a text to this kind of value, if it is one.
pub fn convert(kind: Scalar, text: &str) -> Option<Value> {
    match kind {
        Scalar::String => Some(Value::from(text)),
        Scalar::Integer => integer(text),
        Scalar::Number => integer(text).or_else(|| fraction(text)),
        Scalar::Boolean => match text {
            "true" | "on" => Some(Value::from(true)),
            "false" | "off" => Some(Value::from(false)),
            _ => None,
        },
        Scalar::Null => (text == "null").then_some(Value::Null),
    }
}

/// Any integer that fits 64 bits, signed or unsigned.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let magnitude = match hexadecimal {
        Some(digits) => number(digits, 16)?,
        None => {
            let (digits, shift) = suffix(digits);
            number(digits, 10)?.checked_mul(1 << shift)?
        }
    };
    if negative {
        i64::try_from(-i128::from(magnitude)).ok().map(Value::from)
    } else {
        Some(Value::from(magnitude))
    }
}

fn number(digits: &str, radix: u32) -> Option<u64> {
    // `from_str_radix` would accept a sign here.
    let all = digits.chars().all(|digit| digit.is_digit(radix));
    all.then(|| u64::from_str_radix(digits, radix).ok())
        .flatten()
}

/// The text without its suffix, and the power of two that the suffix stands for.
fn suffix(text: &str) -> (&str, u32) {
    let suffixes = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    suffixes
        .into_iter()
        .find_map(|(suffix, shift)| {
            let is_it = |last: char| last.eq_ignore_ascii_case(&suffix);
            text.strip_suffix(is_it).map(|digits| (digits, shift))
        })
        .unwrap_or((text, 0))
}

fn fraction(text: &str) -> Option<Value> {
    // Excludes "inf" and the like, which JSON lacks.
    let digits = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    let number: f64 = text.parse().ok().filter(|_| digits)?;
    serde_json::Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integers_are_decimal_or_hexadecimal_or_sizes() {
        let read = |text| convert(Scalar::Integer, text);
        assert_eq!(read("42"), Some(json!(42)));
        assert_eq!(read("-42"), Some(json!(-42)));
        assert_eq!(read("0x1F"), Some(json!(31)));
        assert_eq!(read("-0x10"), Some(json!(-16)));
        assert_eq!(read("4K"), Some(json!(4096)));
        assert_eq!(read("3g"), Some(json!(3u64 << 30)));
        assert_eq!(read("18446744073709551615"), Some(json!(u64::MAX)));
        assert_eq!(read("-9223372036854775808"), Some(json!(i64::MIN)));
        assert_eq!(read("-0"), Some(json!(0)));
    }

    #[test]
    fn invalid_and_large_integers_are_refused() {
        let wrong = [
            "",
            "-",
            "+",
            "+1",
            "--1",
            "0x",
            "0x+1",
            "1.5",
            "1e3",
            "K",
            "1KK",
            "0x1G",
            " 1",
            "1 ",
            "18446744073709551616",
            "-9223372036854775809",
            "18014398509481984K",
            "٣",
            "nan",
        ];
        for text in wrong {
            assert_eq!(convert(Scalar::Integer, text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_finite_and_have_digits() {
        let read = |text| convert(Scalar::Number, text);
        assert_eq!(read("0.25"), Some(json!(0.25)));
        assert_eq!(read("-1e-3"), Some(json!(-0.001)));
        assert_eq!(read("7"), Some(json!(7)));
        for text in ["inf", "nan", "-inf", "1e999", "", "x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn booleans_are_words() {
        let read = |text| convert(Scalar::Boolean, text);
        assert_eq!(
            (read("on"), read("true")),
            (Some(json!(true)), Some(json!(true)))
        );
        assert_eq!(
            (read("off"), read("false")),
            (Some(json!(false)), Some(json!(false)))
        );
        assert_eq!(read("1"), None);
    }
}
