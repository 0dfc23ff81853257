//! The cost of idle guests, one VMM after the other: the VMM's CPU time while its guest is idle.
//!
//! The measurement runs beside the VMMs, which may be in the lab; its results are lines of text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use faultvisor_harness::{Error, Process};
use faultvisor_tests::artifact::ArtifactError;
use faultvisor_tests::guest::{EXIT_MARKER, Ending, GuestImages, Script};
use faultvisor_tests::microvm;
use libqmp::Session;
use serde_json::{Value, json};

use crate::contender::{Contender, ListError};
use crate::cpu_time::{self, Snapshot};

/// Ends with 0 after two seconds in which the guest's CPU was busy for less than four ticks of 10 ms, and with 1 if
/// that does not happen. Only the shell runs: starting a program would be work.
const SETTLE: &str = "\
busy() { read -r name user nice system idle wait irq soft rest < /proc/stat; now=$((user + nice + system + irq + soft)); }
for attempt in $(seq 60); do
    busy; before=$now
    sleep 2
    busy; [ $((now - before)) -lt 4 ] && exit 0
done
exit 1
";
const PREFIX: &str = "FV-IDLE ";
/// More than a guest takes to boot in the lab and to settle.
const LIMIT: Duration = Duration::from_secs(240);
/// Most time for the rest of the machine to settle.
const QUIET: Duration = Duration::from_secs(20);
/// The names of the vCPU threads, in Faultvisor and in QEMU.
const VCPU_THREADS: [&str; 2] = ["vcpu0", microvm::VCPU_THREAD];
/// KVM's counters of each machine, if mounted (Linux `Documentation/virt/kvm/api.rst`, "debugfs").
const KVM_STATISTICS: &str = "/sys/kernel/debug/kvm";

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub enum IdleCostError {
    /// A VMM's guest failed.
    #[error("{name}: {source}")]
    NotUp {
        /// The contender.
        name: String,
        /// The cause.
        source: Error,
    },
    /// A guest did not become idle.
    #[error("{0}: the guest does not come to rest")]
    Restless(String),
    /// A VMM's monitor refused a connection.
    #[error("{name}: no monitor")]
    NoMonitor {
        /// The contender.
        name: String,
        /// The cause.
        source: libqmp::Error,
    },
    /// A VMM has no vCPU thread.
    #[error("{0}: no thread of a vCPU")]
    NoVcpu(String),
    /// The list of contenders is invalid.
    #[error(transparent)]
    NotAList(#[from] ListError),
    /// The guest's initramfs cannot be made.
    #[error(transparent)]
    Initramfs(#[from] ArtifactError),
    /// The VMM cannot be observed, or results cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A VMM, and the socket of its monitor if a client connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idler {
    /// The VMM, with the initramfs of [`initramfs`] and the serial console on stdio.
    pub contender: Contender,
    /// The socket to which an idle client connects.
    pub monitor: Option<String>,
}

/// Encodes idlers as a text for another process.
pub fn to_json(idlers: &[Idler]) -> String {
    let list = idlers.iter().map(|idler| {
        let Contender { name, command } = &idler.contender;
        json!({ "name": name, "command": command, "monitor": idler.monitor })
    });
    Value::Array(list.collect()).to_string()
}

/// Decodes idlers that [`to_json`] encoded.
pub fn from_json(text: &str) -> Result<Vec<Idler>, IdleCostError> {
    let list: Vec<Value> = serde_json::from_str(text).map_err(ListError::from)?;
    let idler = |value: &Value| {
        Ok(Idler {
            contender: Contender::from_value(value)?,
            monitor: value["monitor"].as_str().map(str::to_owned),
        })
    };
    list.iter().map(idler).collect()
}

/// Writes an initramfs whose guest reports when it has become idle, and stays so.
pub fn initramfs(images: &GuestImages, to: &Path) -> Result<(), IdleCostError> {
    let script = Script::new(SETTLE).ending(Ending::Stay);
    Ok(script.write(images, to)?)
}

/// The cost of an idle guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The contender's name.
    pub name: String,
    /// How long it was watched, in seconds.
    pub seconds: f64,
    /// CPU time of the vCPU's thread, in milliseconds.
    pub vcpu: f64,
    /// CPU time of the VMM's other threads, in milliseconds.
    pub rest: f64,
    /// Voluntary context switches of the VMM's threads.
    pub sleeps: u64,
    /// Number of exits; 0 if KVM does not tell.
    pub exits: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            seconds,
            vcpu,
            rest,
            sleeps,
            exits,
        } = self;
        write!(
            f,
            "{PREFIX}{name} {seconds:.3} {vcpu:.3} {rest:.3} {sleeps} {exits}"
        )
    }
}

impl FromStr for Sample {
    type Err = ();

    /// Finds the sample in a line, after any other text.
    fn from_str(line: &str) -> Result<Self, ()> {
        let at = line.find(PREFIX).ok_or(())?;
        let words: Vec<&str> = line[at + PREFIX.len()..].split_whitespace().collect();
        let [name, seconds, vcpu, rest, sleeps, exits] = words[..] else {
            return Err(());
        };
        Ok(Self {
            name: name.to_owned(),
            seconds: seconds.parse().map_err(drop)?,
            vcpu: vcpu.parse().map_err(drop)?,
            rest: rest.parse().map_err(drop)?,
            sleeps: sleeps.parse().map_err(drop)?,
            exits: exits.parse().map_err(drop)?,
        })
    }
}

/// Watches each idler's guest for that long `runs` times, alternating, and writes a line for each time.
pub fn measure(
    idlers: &[Idler],
    runs: usize,
    watched: Duration,
    to: &mut dyn Write,
) -> Result<(), IdleCostError> {
    for _ in 0..runs {
        for idler in idlers {
            let sample = watch(idler, watched)?;
            writeln!(to, "{sample}")?;
            to.flush()?;
        }
    }
    Ok(())
}

fn watch(idler: &Idler, watched: Duration) -> Result<Sample, IdleCostError> {
    let Contender { name, command } = &idler.contender;
    let (program, arguments) = command.split_first().ok_or(ListError::Lacks("command"))?;
    let failed = |source| IdleCostError::NotUp {
        name: name.clone(),
        source,
    };
    let mut machine = Process::spawn(Command::new(program).args(arguments)).map_err(failed)?;
    let line = machine.console().wait_for_line(EXIT_MARKER, LIMIT);
    if !line.map_err(failed)?.text.ends_with(" 0") {
        return Err(IdleCostError::Restless(name.clone()));
    }
    let client = idler.monitor.as_ref().map(|path| connect(path));
    let _client = client
        .transpose()
        .map_err(|source| IdleCostError::NoMonitor {
            name: name.clone(),
            source,
        })?;
    cpu_time::await_quiet(Instant::now() + QUIET)?;
    let (before, counts) = (Snapshot::of(machine.id())?, Counts::of(machine.id())?);
    let started = Instant::now();
    // Waits for no event: this is the measured time.
    thread::sleep(watched);
    let spent = Snapshot::of(machine.id())?.since(&before, &VCPU_THREADS);
    let seconds = started.elapsed().as_secs_f64();
    let spent = spent.ok_or_else(|| IdleCostError::NoVcpu(name.clone()))?;
    let now = Counts::of(machine.id())?;
    Ok(Sample {
        name: name.clone(),
        seconds,
        vcpu: spent.named.as_secs_f64() * 1e3,
        rest: spent.rest.as_secs_f64() * 1e3,
        sleeps: now.sleeps.saturating_sub(counts.sleeps),
        exits: now.exits.saturating_sub(counts.exits),
    })
}

fn connect(path: &str) -> Result<Session, libqmp::Error> {
    let options = Session::options().within(LIMIT).timeout(LIMIT);
    options.connect(&format!("unix:{path}"))
}

/// Counters of a process and its machine.
struct Counts {
    sleeps: u64,
    exits: u64,
}

impl Counts {
    fn of(process: u32) -> io::Result<Self> {
        let mut sleeps = 0;
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            // A thread may end meanwhile.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            sleeps += voluntary_switches(&status);
        }
        Ok(Self {
            sleeps,
            exits: exits(process),
        })
    }
}

fn voluntary_switches(status: &str) -> u64 {
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Exits of a process's machines, whose directories are named after the process.
fn exits(process: u32) -> u64 {
    let machines = fs::read_dir(KVM_STATISTICS).into_iter().flatten().flatten();
    let prefix = format!("{process}-");
    let counts = machines
        .filter(|machine| machine.file_name().to_string_lossy().starts_with(&prefix))
        .filter_map(|machine| fs::read_to_string(machine.path().join("exits")).ok());
    counts
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum()
}

/// The medians of samples, side by side: names with the same ending after the VMM's name are compared.
pub fn summary(samples: &[Sample]) -> String {
    let mut groups: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        groups.entry(&sample.name).or_default().push(sample);
    }
    let median = |samples: &[&Sample], of: &dyn Fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(|sample| of(sample)).collect();
        values.sort_by(f64::total_cmp);
        values[(values.len() - 1) / 2]
    };
    let total = |samples: &[&Sample]| median(samples, &|it| (it.vcpu + it.rest) / it.seconds);
    let mut text = String::new();
    for (name, samples) in &groups {
        let case = name.split_once(':').map_or("", |(_, case)| case);
        let other = groups
            .iter()
            .find(|(other, _)| other != &name && other.ends_with(&format!(":{case}")));
        let ratio = other.map_or(String::new(), |(other, theirs)| {
            format!(", {:.2} of {other}", total(samples) / total(theirs))
        });
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name}: {:.3} ms of CPU time a second{ratio} (vCPU {:.3}, other threads {:.3}); {:.1} sleeps and {:.1} exits a \
             second",
            total(samples),
            median(samples, &|it| it.vcpu / it.seconds),
            median(samples, &|it| it.rest / it.seconds),
            median(samples, &|it| it.sleeps as f64 / it.seconds),
            median(samples, &|it| it.exits as f64 / it.seconds),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, vcpu: f64) -> Sample {
        Sample {
            name: name.to_owned(),
            seconds: 2.0,
            vcpu,
            rest: 1.0,
            sleeps: 8,
            exits: 40,
        }
    }

    #[test]
    fn idlers_read_back_as_written() {
        let idler = |monitor: Option<&str>| Idler {
            contender: Contender {
                name: "a:disk".to_owned(),
                command: vec!["vmm".to_owned(), "it's".to_owned()],
            },
            monitor: monitor.map(str::to_owned),
        };
        let idlers = vec![idler(None), idler(Some("/tmp/socket"))];
        assert_eq!(from_json(&to_json(&idlers)).unwrap(), idlers);
        assert!(from_json(r#"[{"name": "x"}]"#).is_err());
    }

    #[test]
    fn a_sample_reads_back_as_written() {
        let sample = sample("a:disk", 3.5);
        assert_eq!(format!("noise {sample}").parse(), Ok(sample));
        assert_eq!("FV-IDLE a 1 2".parse::<Sample>(), Err(()));
    }

    #[test]
    fn the_same_cases_of_both_vmms_are_compared() {
        let samples = [
            sample("a:disk", 1.0),
            sample("b:disk", 3.0),
            sample("b:bare", 100.0),
            sample("a:disk", 5.0),
            sample("a:disk", 1.0),
        ];
        let text = summary(&samples);
        let expected = "a:disk: 1.000 ms of CPU time a second, 0.50 of b:disk (vCPU 0.500, other threads 0.500); \
                        4.0 sleeps and 20.0 exits a second\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("b:bare: 50.500 ms of CPU time a second (vCPU"),
            "{text}"
        );
    }

    #[test]
    fn this_process_has_slept() {
        thread::sleep(Duration::from_millis(1));
        assert!(Counts::of(std::process::id()).unwrap().sleeps > 0);
        assert_eq!(
            voluntary_switches("Name:\tx\nvoluntary_ctxt_switches:\t150\n"),
            150
        );
    }

    #[test]
    fn an_idle_guest_reports_it() {
        let script = SETTLE.replace("sleep 2", "true");
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert_eq!(status.code(), Some(0));
    }
}
