//! `--device virtio-rng-device`: entropy of the host, by the names of QEMU's properties.

use std::time::Duration;

use faultvisor_devices::virtio::rng::{RateLimit, RngConfiguration};
use faultvisor_monitor::option_syntax::{KeyValues, OptionError};

use super::drive::identifier;

/// QEMU's name of the device on virtio-mmio.
pub(super) const DRIVER: &str = "virtio-rng-device";

const KEYS: &[&str] = &["driver", "id", "max-bytes", "period"];

/// The period of a limit, in milliseconds, unless it is given; as in QEMU.
const DEFAULT_PERIOD: u32 = 1 << 16;

/// Parses a device, the `index`-th of its kind.
pub(super) fn parse(text: &str, index: usize) -> Result<RngConfiguration, OptionError> {
    let mut keys = KeyValues::parse_implying("driver", text, KEYS, &[])?;
    keys.take("driver");
    let id = keys.take_with("id", identifier)?;
    let max_bytes = keys.take_with("max-bytes", max_bytes)?;
    let period = keys.take_with("period", period)?;
    let period = period.unwrap_or(DEFAULT_PERIOD);
    Ok(RngConfiguration {
        id: id.unwrap_or_else(|| format!("rng{index}")),
        limit: max_bytes.map(|max_bytes| RateLimit {
            max_bytes,
            period: Duration::from_millis(period.into()),
        }),
    })
}

fn max_bytes(word: &str) -> Result<u64, &'static str> {
    match word.parse::<i64>().map(u64::try_from) {
        Ok(Ok(bytes)) => Ok(bytes),
        _ => Err("expected a number of bytes below 2^63"),
    }
}

fn period(word: &str) -> Result<u32, &'static str> {
    match word.parse() {
        Ok(period) if period > 0 => Ok(period),
        _ => Err("expected a positive number of milliseconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Option<(u64, u128)> {
        let limit = parse(text, 0).unwrap().limit?;
        Some((limit.max_bytes, limit.period.as_millis()))
    }

    #[test]
    fn limit_and_period_are_those_of_qemu() {
        assert_eq!(limit("virtio-rng-device"), None);
        assert_eq!(limit("virtio-rng-device,period=5"), None);
        let text = "virtio-rng-device,max-bytes=1024";
        assert_eq!(limit(text), Some((1024, 65536)));
        let text = "driver=virtio-rng-device,max-bytes=0,period=1000";
        assert_eq!(limit(text), Some((0, 1000)));
    }

    #[test]
    fn a_device_without_a_name_gets_one_by_its_number() {
        assert_eq!(parse("virtio-rng-device", 3).unwrap().id, "rng3");
        assert_eq!(parse("virtio-rng-device,id=dice", 3).unwrap().id, "dice");
    }

    #[test]
    fn an_invalid_limit_is_refused_with_its_key() {
        let error = |text: &str| {
            let text = format!("virtio-rng-device,{text}");
            parse(&text, 0).unwrap_err().to_string()
        };
        let bytes = "expected a number of bytes below 2^63";
        for word in ["-1", "9223372036854775808", "1k", ""] {
            let expected = format!("max-bytes={word}: {bytes}");
            assert_eq!(error(&format!("max-bytes={word}")), expected);
        }
        let period = "expected a positive number of milliseconds";
        for word in ["0", "-1", "4294967296"] {
            let expected = format!("period={word}: {period}");
            assert_eq!(error(&format!("period={word}")), expected);
        }
        assert!(error("rng=rng0").starts_with("unknown key 'rng'"));
        assert!(error("id=0").starts_with("id=0: an id starts with a letter"));
    }
}
