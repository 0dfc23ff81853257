//! How long VMMs take from exec to the guest's init, side by side.
//!
//! The measurement runs beside the VMMs, which may be in the lab; its results are lines of text.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use faultvisor_harness::{Error, Process};
use faultvisor_tests::guest::INIT_MARKER;
use faultvisor_tests::resident;

use crate::contender::Contender;
use crate::cpu_time::Shares;

/// More than any VMM worth measuring takes in the lab.
const LIMIT: Duration = Duration::from_secs(90);
const PREFIX: &str = "FV-BOOT ";

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub enum BootTimeError {
    /// A VMM's guest did not reach init.
    #[error("{name}: {source}")]
    NoInit {
        /// The contender.
        name: String,
        /// The cause.
        source: Error,
    },
    /// Results cannot be written.
    #[error("cannot write the results")]
    Write(#[from] io::Error),
}

/// A contender's single boot.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The contender's name.
    pub name: String,
    /// From exec to the first line of the guest's init.
    pub seconds: f64,
    /// Resident memory beside the guest's, in KiB, at that moment.
    pub overhead_kib: u64,
    /// CPU time up to that moment.
    pub cpu: Shares,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{} {:.3} {} {} {} {}",
            self.name,
            self.seconds,
            self.overhead_kib,
            self.cpu.guest.as_millis(),
            self.cpu.program.as_millis(),
            self.cpu.kernel.as_millis()
        )
    }
}

impl FromStr for Sample {
    type Err = ();

    /// Finds the sample in a line, after any other text.
    fn from_str(line: &str) -> Result<Self, ()> {
        let at = line.find(PREFIX).ok_or(())?;
        let mut words = line[at + PREFIX.len()..].split_whitespace();
        let mut word = || words.next().ok_or(());
        Ok(Self {
            name: word()?.to_owned(),
            seconds: word()?.parse().map_err(drop)?,
            overhead_kib: word()?.parse().map_err(drop)?,
            cpu: Shares {
                guest: Duration::from_millis(word()?.parse().map_err(drop)?),
                program: Duration::from_millis(word()?.parse().map_err(drop)?),
                kernel: Duration::from_millis(word()?.parse().map_err(drop)?),
            },
        })
    }
}

/// Boots each contender `runs` times, alternating, and writes a line for each boot. `guest_memory_mib` is the memory of
/// each guest.
pub fn measure(
    contenders: &[Contender],
    runs: usize,
    guest_memory_mib: u64,
    to: &mut dyn Write,
) -> Result<(), BootTimeError> {
    for _ in 0..runs {
        for contender in contenders {
            let sample = boot(contender, guest_memory_mib)?;
            writeln!(to, "{sample}")?;
            to.flush()?;
        }
    }
    Ok(())
}

fn boot(contender: &Contender, guest_memory_mib: u64) -> Result<Sample, BootTimeError> {
    let mut command = Command::new(&contender.command[0]);
    command.args(&contender.command[1..]);
    let failed = |source| BootTimeError::NoInit {
        name: contender.name.clone(),
        source,
    };
    let mut machine = Process::spawn(&mut command).map_err(failed)?;
    let line = machine.console().wait_for_line(INIT_MARKER, LIMIT);
    let line = line.map_err(failed)?;
    let cpu = Shares::of(machine.id())?;
    let mappings = fs::read_to_string(format!("/proc/{}/smaps", machine.id()))?;
    Ok(Sample {
        name: contender.name.clone(),
        seconds: (line.at - machine.started()).as_secs_f64(),
        overhead_kib: resident::beside_guest(&mappings, guest_memory_mib * 1024),
        cpu,
    })
}

/// The medians of samples, one line per contender, in order of first appearance.
pub fn summary(samples: &[Sample]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples {
        if !names.contains(&sample.name.as_str()) {
            names.push(&sample.name);
        }
    }
    let mut text = String::new();
    for name in names {
        let of_name = || samples.iter().filter(|sample| sample.name == name);
        let mut seconds: Vec<f64> = of_name().map(|sample| sample.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let middle_of = |part: fn(&Shares) -> Duration| {
            let mut times: Vec<Duration> = of_name().map(|sample| part(&sample.cpu)).collect();
            times.sort();
            times[(times.len() - 1) / 2].as_secs_f64()
        };
        let mut overhead: Vec<u64> = of_name().map(|sample| sample.overhead_kib).collect();
        overhead.sort_unstable();
        let middle = (seconds.len() - 1) / 2;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name}: exec to guest init {:.2} s (median of {}, {:.2} to {:.2}), {} KiB resident beside the guest's memory; CPU time of the \
             guest {:.2} s, of the program {:.2} s, of the host's kernel {:.2} s",
            seconds[middle],
            seconds.len(),
            seconds[0],
            seconds[seconds.len() - 1],
            overhead[middle],
            middle_of(|shares| shares.guest),
            middle_of(|shares| shares.program),
            middle_of(|shares| shares.kernel),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_the_median() {
        let sample = |seconds| Sample {
            name: "a".to_owned(),
            seconds,
            overhead_kib: 8,
            cpu: Shares::default(),
        };
        let text = summary(&[sample(3.0), sample(1.0), sample(2.0)]);
        assert!(
            text.starts_with("a: exec to guest init 2.00 s (median of 3, 1.00 to 3.00), 8 KiB"),
            "{text}"
        );
        let line = format!("noise {}", sample(1.5));
        assert_eq!(line.parse(), Ok(sample(1.5)));
    }
}
