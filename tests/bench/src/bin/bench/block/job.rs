//! Jobs: how the disk is loaded, and how fast it answered.

use std::fmt;

/// Reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
}

/// Access pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Random,
    Sequential,
}

/// A load for a disk.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub order: Order,
    pub kind: Kind,
    /// Bytes of each request.
    pub bytes: u64,
    /// Requests in flight.
    pub depth: u32,
}

/// The size of random requests.
const SMALL: u64 = 4 << 10;
const RANDOM_DEPTHS: [u32; 4] = [1, 8, 32, 128];
/// The size and number in flight of sequential requests: as many as the guest has memory for.
const LARGE: u64 = 1 << 20;
const SEQUENTIAL_DEPTH: u32 = 8;

impl Job {
    /// All jobs, in order of measurement.
    pub fn all() -> Vec<Self> {
        let random = [Kind::Read, Kind::Write].map(|kind| {
            RANDOM_DEPTHS.map(|depth| Self {
                order: Order::Random,
                kind,
                bytes: SMALL,
                depth,
            })
        });
        let sequential = [Kind::Read, Kind::Write].map(|kind| Self {
            order: Order::Sequential,
            kind,
            bytes: LARGE,
            depth: SEQUENTIAL_DEPTH,
        });
        random.into_iter().flatten().chain(sequential).collect()
    }

    /// MiB of each request.
    pub fn mib(&self) -> f64 {
        // Exact: a power of two.
        f64::from(u32::try_from(self.bytes).unwrap_or(u32::MAX)) / f64::from(1 << 20)
    }

    /// Whether the project has a target for it.
    pub fn has_target(&self) -> bool {
        self.order == Order::Random && self.depth == 32
    }
}

impl fmt::Display for Job {
    /// A name for selecting it, such as `randread-4k-32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.order {
            Order::Random => "rand",
            Order::Sequential => "seq",
        })?;
        f.write_str(match self.kind {
            Kind::Read => "read",
            Kind::Write => "write",
        })?;
        match self.bytes >> 20 {
            0 => write!(f, "-{}k", self.bytes >> 10)?,
            mib => write!(f, "-{mib}m")?,
        }
        write!(f, "-{}", self.depth)
    }
}

/// The result of one run of a job.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// I/Os per second.
    pub rate: f64,
    /// Median latency in µs.
    pub p50: f64,
    /// 99th percentile of latency in µs.
    pub p99: f64,
    /// Host CPU time in µs per I/O.
    pub cpu: f64,
    /// The guest's notifications per I/O, if there is a guest.
    pub kicks: Option<f64>,
    /// CPUs that were busy with other work meanwhile.
    pub others: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_are_those_of_the_comparison() {
        let names: Vec<String> = Job::all().iter().map(Job::to_string).collect();
        assert_eq!(
            names.join(" "),
            "randread-4k-1 randread-4k-8 randread-4k-32 randread-4k-128 randwrite-4k-1 randwrite-4k-8 \
             randwrite-4k-32 randwrite-4k-128 seqread-1m-8 seqwrite-1m-8"
        );
        let targets = Job::all().iter().filter(|job| job.has_target()).count();
        assert_eq!(targets, 2);
    }
}
