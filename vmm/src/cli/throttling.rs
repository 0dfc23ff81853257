//! The part of `--drive` with a disk's limits, by QEMU's names, long and short.

use faultvisor_devices::block::throttle::limits::{Limit, Limits, Measure};

use faultvisor_monitor::option_syntax::{KeyValues, OptionError};

/// A disk's limits and their group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttling {
    /// The group that shares the limits.
    pub group: String,
    /// The limits, at least one.
    pub limits: Limits,
}

/// The keys of one limit.
struct Names {
    measure: Measure,
    average: [&'static str; 2],
    maximum: [&'static str; 2],
    length: &'static str,
}

const SIZE: [&str; 2] = ["throttling.iops-size", "iops_size"];
const GROUP: [&str; 2] = ["throttling.group", "group"];

const NAMES: [Names; 6] = [
    Names {
        measure: Measure::BpsTotal,
        average: ["throttling.bps-total", "bps"],
        maximum: ["throttling.bps-total-max", "bps_max"],
        length: "throttling.bps-total-max-length",
    },
    Names {
        measure: Measure::BpsRead,
        average: ["throttling.bps-read", "bps_rd"],
        maximum: ["throttling.bps-read-max", "bps_rd_max"],
        length: "throttling.bps-read-max-length",
    },
    Names {
        measure: Measure::BpsWrite,
        average: ["throttling.bps-write", "bps_wr"],
        maximum: ["throttling.bps-write-max", "bps_wr_max"],
        length: "throttling.bps-write-max-length",
    },
    Names {
        measure: Measure::IopsTotal,
        average: ["throttling.iops-total", "iops"],
        maximum: ["throttling.iops-total-max", "iops_max"],
        length: "throttling.iops-total-max-length",
    },
    Names {
        measure: Measure::IopsRead,
        average: ["throttling.iops-read", "iops_rd"],
        maximum: ["throttling.iops-read-max", "iops_rd_max"],
        length: "throttling.iops-read-max-length",
    },
    Names {
        measure: Measure::IopsWrite,
        average: ["throttling.iops-write", "iops_wr"],
        maximum: ["throttling.iops-write-max", "iops_wr_max"],
        length: "throttling.iops-write-max-length",
    },
];

/// The keys.
pub(super) fn keys() -> Vec<&'static str> {
    let of_limits = NAMES.iter().flat_map(|names| {
        let lengths = [names.length];
        names
            .average
            .into_iter()
            .chain(names.maximum)
            .chain(lengths)
    });
    of_limits.chain(SIZE).chain(GROUP).collect()
}

/// Parses them, for the disk of this name.
pub(super) fn take(keys: &mut KeyValues, id: &str) -> Result<Option<Throttling>, OptionError> {
    let mut read = Vec::new();
    for names in NAMES {
        let limit = Limit {
            average: number(keys, names.average)?.unwrap_or_default(),
            maximum: number(keys, names.maximum)?.unwrap_or_default(),
            length: keys.take_with(names.length, parse)?.unwrap_or(1),
        };
        read.push((names.measure, limit));
    }
    let limit = |measure| {
        let found = read.iter().find(|(of, _)| *of == measure);
        found.map_or_else(Limit::default, |(_, limit)| *limit)
    };
    let size = number(keys, SIZE)?.unwrap_or_default();
    let limits = Limits::new(limit, size).map_err(|error| OptionError::Other(error.to_string()))?;
    let limited = !limits.are_none();
    let name = |word: &str| match word {
        "" => Err("a group needs a name"),
        _ if !limited => Err("a group needs limits"),
        _ => Ok(word.to_owned()),
    };
    let group = either(keys, GROUP, name)?.unwrap_or_else(|| id.to_owned());
    Ok(limited.then_some(Throttling { group, limits }))
}

fn number(keys: &mut KeyValues, names: [&'static str; 2]) -> Result<Option<u64>, OptionError> {
    either(keys, names, parse)
}

fn parse(word: &str) -> Result<u64, &'static str> {
    word.parse().map_err(|_| "expected a number")
}

/// The value of a key that has two names.
fn either<T, E: ToString>(
    keys: &mut KeyValues,
    [long, short]: [&'static str; 2],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, OptionError> {
    let value = keys.take_with(long, &parse)?;
    match keys.take_with(short, &parse)? {
        Some(_) if value.is_some() => Err(OptionError::Twice(long.to_owned())),
        by_short => Ok(value.or(by_short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Throttling>, String> {
        let parsed = KeyValues::parse(text, &keys()).and_then(|mut keys| take(&mut keys, "disk0"));
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn every_limit_has_its_keys() {
        let text = "throttling.bps-read=10,throttling.bps-read-max=20,\
                    throttling.bps-read-max-length=3,bps_wr=5,iops=100,iops_max=200,\
                    throttling.iops-size=4096,throttling.group=both";
        let Throttling { group, limits } = read(text).unwrap().unwrap();
        assert_eq!((group.as_str(), limits.iops_size()), ("both", 4096));
        let of = |measure| {
            let limit = limits.of(measure);
            (limit.average, limit.maximum, limit.length)
        };
        assert_eq!(of(Measure::BpsRead), (10, 20, 3));
        assert_eq!(of(Measure::BpsWrite), (5, 0, 1));
        assert_eq!(of(Measure::IopsTotal), (100, 200, 1));
        assert_eq!(of(Measure::BpsTotal), (0, 0, 1));
        for names in NAMES {
            for key in names.average {
                let limits = read(&format!("{key}=7")).unwrap().unwrap().limits;
                assert_eq!(limits.of(names.measure).average, 7, "{key}");
            }
        }
    }

    #[test]
    fn without_limits_there_is_no_group_and_by_default_it_is_named_like_the_disk() {
        assert_eq!(read("bps=0").unwrap(), None);
        assert_eq!(read("bps=1").unwrap().unwrap().group, "disk0");
    }

    #[test]
    fn invalid_throttling_is_refused() {
        let error = |text| read(text).unwrap_err();
        assert_eq!(error("bps=1M"), "bps=1M: expected a number");
        assert_eq!(error("iops=-1"), "iops=-1: expected a number");
        let twice = "key 'throttling.bps-total' is given twice";
        assert_eq!(error("bps=1,throttling.bps-total=1"), twice);
        let group = "throttling.group=g: a group needs limits";
        assert_eq!(error("throttling.group=g"), group);
        let together =
            "bps/iops/max total values and read/write values cannot be used at the same time";
        assert_eq!(error("bps=1,bps_rd=1"), together);
    }
}
