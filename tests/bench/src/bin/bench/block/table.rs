//! The printed table: for each job a line per contender, and how they compare.

use std::fmt;

use super::job::{Job, Sample};

/// The contenders' names in comparisons.
pub const FAULTVISOR: &str = "faultvisor";
pub const BASELINE: &str = "baseline";
pub const MICROVM: &str = "qemu-microvm";
pub const FIO: &str = "fio";

/// A contender's samples of one job.
#[derive(Debug)]
pub struct Entry {
    /// The contender's name.
    pub name: &'static str,
    /// One sample per round.
    pub samples: Vec<Sample>,
}

/// One job.
#[derive(Debug)]
pub struct Group {
    /// The job.
    pub job: Job,
    /// The contenders.
    pub entries: Vec<Entry>,
}

/// All jobs.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Group>);

const COLUMNS: usize = 10;
const HEAD: [&str; COLUMNS] = [
    "job",
    "medians",
    "I/O/s",
    "min..max",
    "MiB/s",
    "p50 µs",
    "p99 µs",
    "CPU µs/I/O",
    "kicks/I/O",
    "others' CPUs",
];
/// Number of leading columns that hold words.
const WORDS: usize = 2;

/// How Faultvisor compares with another, and the project's target.
struct Comparison {
    with: &'static str,
    what: &'static str,
    of: fn(&Sample) -> f64,
    aim: Aim,
}

enum Aim {
    None,
    AtLeast(f64),
    AtMost(f64),
}

const COMPARISONS: [Comparison; 5] = [
    Comparison {
        with: BASELINE,
        what: "the baseline's I/O/s",
        of: |sample| sample.rate,
        aim: Aim::None,
    },
    Comparison {
        with: BASELINE,
        what: "its CPU time",
        of: |sample| sample.cpu,
        aim: Aim::None,
    },
    Comparison {
        with: MICROVM,
        what: "QEMU's I/O/s",
        of: |sample| sample.rate,
        aim: Aim::AtLeast(1.3),
    },
    Comparison {
        with: FIO,
        what: "fio's I/O/s",
        of: |sample| sample.rate,
        aim: Aim::AtLeast(0.85),
    },
    Comparison {
        with: MICROVM,
        what: "QEMU's CPU time",
        of: |sample| sample.cpu,
        aim: Aim::AtMost(0.7),
    },
];

impl Aim {
    fn verdict(&self, ratio: f64) -> String {
        let (words, aim, is_met) = match *self {
            Self::None => return String::new(),
            Self::AtLeast(aim) => ("at least", aim, ratio >= aim),
            Self::AtMost(aim) => ("at most", aim, ratio <= aim),
        };
        let verdict = if is_met { "met" } else { "missed" };
        format!(" ({words} {aim}: {verdict})")
    }
}

impl Entry {
    /// The median of a figure; NaN without samples.
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        }
    }

    fn cells(&self, job: Job) -> [String; COLUMNS] {
        let rates = || self.samples.iter().map(|sample| sample.rate);
        let slowest = rates().fold(f64::INFINITY, f64::min);
        let fastest = rates().fold(0.0, f64::max);
        let rate = self.median(|sample| sample.rate);
        // Not every figure exists for every contender.
        let known = |value: f64| {
            if value.is_nan() {
                "-".to_owned()
            } else {
                format!("{value:.2}")
            }
        };
        [
            job.to_string(),
            self.name.to_owned(),
            format!("{rate:.0}"),
            format!("{slowest:.0}..{fastest:.0}"),
            format!("{:.0}", rate * job.mib()),
            format!("{:.0}", self.median(|sample| sample.p50)),
            format!("{:.0}", self.median(|sample| sample.p99)),
            format!("{:.1}", self.median(|sample| sample.cpu)),
            known(self.median(|sample| sample.kicks.unwrap_or(f64::NAN))),
            known(self.median(|sample| sample.others)),
        ]
    }
}

impl Group {
    fn comparison(&self) -> Option<String> {
        let entry = |name| self.entries.iter().find(|entry| entry.name == name);
        let ours = entry(FAULTVISOR)?;
        let compare = |comparison: &Comparison| {
            let theirs = entry(comparison.with)?.median(comparison.of);
            let ratio = ours.median(comparison.of) / theirs;
            let text = format!("{ratio:.2} of {}", comparison.what);
            Some(if self.job.has_target() {
                format!("{text}{}", comparison.aim.verdict(ratio))
            } else {
                text
            })
        };
        let parts: Vec<String> = COMPARISONS.iter().filter_map(compare).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells_of = |group: &Group| -> Vec<_> {
            group.entries.iter().map(|e| e.cells(group.job)).collect()
        };
        let head = HEAD.map(str::to_owned);
        let groups: Vec<Vec<[String; COLUMNS]>> = self.0.iter().map(cells_of).collect();
        let rows = || groups.iter().flatten().chain([&head]);
        let width = |column: usize| {
            let lengths = rows().map(|cells| cells[column].chars().count());
            lengths.max().unwrap_or_default()
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let row = |f: &mut fmt::Formatter<'_>, cells: &[String; COLUMNS]| {
            for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
                match column {
                    0 => write!(f, "{cell:<width$}")?,
                    1..WORDS => write!(f, "  {cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)
        };
        row(f, &head)?;
        for (group, rows) in self.0.iter().zip(&groups) {
            for cells in rows {
                row(f, cells)?;
            }
            if let Some(comparison) = group.comparison() {
                writeln!(f, "{:<width$}  = {comparison}", "", width = widths[0])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &'static str, rates: &[f64], cpu: f64) -> Entry {
        let sample = |rate: &f64| Sample {
            rate: *rate,
            p50: 1.0,
            p99: 2.0,
            cpu,
            kicks: None,
            others: 0.0,
        };
        Entry {
            name,
            samples: rates.iter().map(sample).collect(),
        }
    }

    #[test]
    fn medians_are_compared_with_targets() {
        let job = |wanted: &str| {
            let mut jobs = Job::all().into_iter();
            jobs.find(|job| job.to_string() == wanted).unwrap()
        };
        let entries = || {
            vec![
                entry(FAULTVISOR, &[30.0, 10.0, 13.0], 6.0),
                entry(MICROVM, &[10.0, 10.0], 8.0),
                entry(FIO, &[13.0], 0.0),
            ]
        };
        let table = Table(vec![
            Group {
                job: job("randread-4k-32"),
                entries: entries(),
            },
            Group {
                job: job("randread-4k-1"),
                entries: entries(),
            },
        ]);
        let text = table.to_string();
        let aims = "= 1.30 of QEMU's I/O/s (at least 1.3: met), 1.00 of fio's I/O/s (at least 0.85: met), \
                    0.75 of QEMU's CPU time (at most 0.7: missed)\n";
        assert!(text.contains(aims), "{text}");
        assert!(
            text.ends_with(
                "= 1.30 of QEMU's I/O/s, 1.00 of fio's I/O/s, 0.75 of QEMU's CPU time\n"
            )
        );
        assert!(text.contains("  10..30  "), "{text}");
    }
}
