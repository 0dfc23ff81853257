//! How long VMMs take from exec to the guest's init, side by side.
//!
//! The measurement runs where the VMMs run, which may be the lab; its results travel as lines of text.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cpu_time::Shares;
use crate::guest::INIT_MARKER;
use faultvisor_harness::{Error, Process};

/// Longer than any VMM worth measuring takes in the lab.
const LIMIT: Duration = Duration::from_secs(90);
const PREFIX: &str = "FV-BOOT ";

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub enum BootTimeError {
    /// A VMM did not get its guest to init.
    #[error("{name}: {source}")]
    NoInit {
        /// The contender.
        name: String,
        /// Why.
        source: Error,
    },
    /// The list of contenders cannot be read.
    #[error("not a list of contenders: {0}")]
    NotAList(#[from] serde_json::Error),
    /// A contender lacks a member.
    #[error("a contender without its '{0}'")]
    Lacks(&'static str),
    /// Results could not be written.
    #[error("cannot write the results")]
    Write(#[from] io::Error),
}

/// A VMM and how it boots the guest, with the serial console on stdio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// One word.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
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
    /// CPU time until that moment.
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

    /// Finds the sample in a line, whatever is before it.
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

/// Contenders as a text, to be passed to another process.
pub fn to_json(contenders: &[Contender]) -> String {
    let list = contenders
        .iter()
        .map(|contender| json!({ "name": contender.name, "command": contender.command }));
    Value::Array(list.collect()).to_string()
}

/// Contenders as [`to_json`] wrote them.
pub fn from_json(text: &str) -> Result<Vec<Contender>, BootTimeError> {
    let list: Vec<Value> = serde_json::from_str(text)?;
    list.iter().map(contender).collect()
}

pub(crate) fn contender(value: &Value) -> Result<Contender, BootTimeError> {
    let name = value["name"].as_str().ok_or(BootTimeError::Lacks("name"))?;
    let words = value["command"]
        .as_array()
        .ok_or(BootTimeError::Lacks("command"))?;
    let command: Vec<String> = words
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if command.is_empty() {
        return Err(BootTimeError::Lacks("command"));
    }
    Ok(Contender {
        name: name.to_owned(),
        command,
    })
}

/// Boots each contender `runs` times, taking turns, and writes a line for each boot. `guest_memory_mib` is what each
/// gives its guest.
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
        overhead_kib: resident_beside(&mappings, guest_memory_mib * 1024),
        cpu,
    })
}

/// The resident KiB in /proc/…/smaps of all mappings that are smaller than the guest's memory.
pub fn resident_beside(smaps: &str, guest_memory_kib: u64) -> u64 {
    let number = |rest: &str| {
        rest.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap_or(0)
    };
    let mut is_guest_memory = false;
    let mut resident = 0;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Size:") {
            is_guest_memory = number(size) >= guest_memory_kib;
        } else if let Some(rss) = line.strip_prefix("Rss:") {
            resident += if is_guest_memory { 0 } else { number(rss) };
        }
    }
    resident
}

/// The medians of samples, one line a contender, in the order in which they first appear.
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
    fn contenders_read_back_as_written() {
        let contenders = vec![Contender {
            name: "microvm".to_owned(),
            command: ["qemu", "-append", "it's \"quoted\""]
                .map(str::to_owned)
                .to_vec(),
        }];
        assert_eq!(from_json(&to_json(&contenders)).unwrap(), contenders);
        assert!(matches!(
            from_json(r#"[{"name": "x", "command": []}]"#),
            Err(BootTimeError::Lacks("command"))
        ));
    }

    #[test]
    fn the_guests_memory_is_not_counted() {
        let smaps = "7f00-7f01 rw-p\nSize:  262144 kB\nRss:  80000 kB\n55-56 r-xp\nSize:  100 kB\nRss:   64 kB\nPss: 1 kB\n";
        assert_eq!(resident_beside(smaps, 256 * 1024), 64);
    }

    #[test]
    fn the_summary_tells_the_median() {
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
