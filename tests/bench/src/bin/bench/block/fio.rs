//! A job run by fio on the host, on the same file.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use faultvisor_bench::cpu_time;
use faultvisor_tests::packages;
use faultvisor_tests::tool;
use serde_json::Value;

use super::job::{Job, Kind, Order, Sample};
use super::medium::{Cache, Medium};

/// fio, and its startup cost.
#[derive(Debug)]
pub struct Fio {
    /// Duration of a job.
    time: Duration,
    /// CPU time of a run with a single I/O.
    start: Duration,
}

impl Fio {
    /// A fio whose jobs run for that long.
    pub fn new(medium: &Medium, time: Duration) -> Result<Self, Box<dyn Error>> {
        let mut fio = Self {
            time,
            start: Duration::ZERO,
        };
        if let Some(job) = Job::all().first() {
            let before = cpu_time::children()?;
            tool::run(fio.command(medium, *job)?.arg("--number_ios=1"))?;
            fio.start = cpu_time::children()?.saturating_sub(before);
        }
        Ok(fio)
    }

    /// Runs a job once.
    pub fn run(&self, medium: &Medium, job: Job) -> Result<Sample, Box<dyn Error>> {
        let mut command = self.command(medium, job)?;
        command.args(["--time_based", "--runtime"]);
        command.arg(format!("{}ms", self.time.as_millis()));
        let (before, machine_before) = (cpu_time::children()?, cpu_time::machine()?);
        let started = Instant::now();
        let output = tool::output(&mut command)?;
        let spent = cpu_time::children()?.saturating_sub(before);
        let machine = cpu_time::machine()?.saturating_sub(machine_before);
        let seconds = started.elapsed().as_secs_f64();
        let result = serde_json::from_slice(&output)?;
        let result = Outcome::read(&result, job.kind).ok_or("fio's report lacks something")?;
        Ok(Sample {
            rate: result.rate,
            p50: result.p50,
            p99: result.p99,
            cpu: spent.saturating_sub(self.start).as_secs_f64() * 1e6 / result.count,
            kicks: None,
            others: machine.saturating_sub(spent).as_secs_f64() / seconds,
        })
    }

    fn command(&self, medium: &Medium, job: Job) -> Result<Command, Box<dyn Error>> {
        let mut command = tool::command(packages::FIO.program)?;
        let image = medium.image().display().to_string();
        command.args(options(job, &image, medium.cache));
        // The page cache is left as the guest finds it, too.
        command.args(["--output-format=json", "--invalidate=0"]);
        Ok(command)
    }
}

/// fio's options for a job.
pub fn options(job: Job, file: &str, cache: Cache) -> Vec<String> {
    let kind = match (job.order, job.kind) {
        (Order::Random, Kind::Read) => "randread",
        (Order::Random, Kind::Write) => "randwrite",
        (Order::Sequential, Kind::Read) => "read",
        (Order::Sequential, Kind::Write) => "write",
    };
    let direct = match cache {
        Cache::None => 1,
        Cache::Writeback => 0,
    };
    let Job { bytes, depth, .. } = job;
    vec![
        "--name=job".to_owned(),
        "--ioengine=io_uring".to_owned(),
        "--thread".to_owned(),
        format!("--filename={file}"),
        format!("--rw={kind}"),
        format!("--direct={direct}"),
        format!("--bs={bytes}"),
        format!("--iodepth={depth}"),
        // Submit and reap as many at once as possible, as the guest does; the default is one at a time.
        format!("--iodepth_batch_submit={depth}"),
        format!("--iodepth_batch_complete_max={depth}"),
        "--iodepth_batch_complete_min=1".to_owned(),
        // Like the guest, keep no record of the blocks done.
        "--norandommap".to_owned(),
        // Latency from submission to completion.
        "--lat_percentiles=1".to_owned(),
        "--clat_percentiles=0".to_owned(),
    ]
}

/// The part of fio's report that is used.
struct Outcome {
    count: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Outcome {
    fn read(report: &Value, kind: Kind) -> Option<Self> {
        let direction = match kind {
            Kind::Read => "read",
            Kind::Write => "write",
        };
        let job = &report["jobs"][0];
        let of_kind = &job[direction];
        let microseconds =
            |percentile| Some(of_kind["lat_ns"]["percentile"][percentile].as_f64()? / 1000.0);
        if job["error"].as_u64()? != 0 {
            return None;
        }
        Some(Self {
            count: of_kind["total_ios"].as_f64().filter(|count| *count > 0.0)?,
            rate: of_kind["iops"].as_f64()?,
            p50: microseconds("50.000000")?,
            p99: microseconds("99.000000")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fios_report_is_parsed() {
        let latencies = json!({ "percentile": { "50.000000": 2500, "99.000000": 80000 } });
        let write = json!({ "total_ios": 100, "iops": 50.5, "lat_ns": latencies });
        let report =
            json!({ "jobs": [{ "error": 0, "read": { "total_ios": 0 }, "write": write }] });
        let result = Outcome::read(&report, Kind::Write).unwrap();
        assert_eq!(
            [result.count, result.rate, result.p50, result.p99],
            [100.0, 50.5, 2.5, 80.0]
        );
        assert!(Outcome::read(&report, Kind::Read).is_none());
    }
}
