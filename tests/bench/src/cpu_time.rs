//! CPU time of other processes, thread by thread, and of the whole machine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Milliseconds per tick in `/proc/stat` and `/proc/…/stat` (`USER_HZ` is 100 on x86-64).
const TICK: u64 = 10;

/// How long the machine is observed, and the divisor of a CPU's time that may be busy in a quiet one.
const LOOK: Duration = Duration::from_secs(1);
const QUIET: u32 = 5;

/// CPU time of each thread of a process, and of all CPUs, up to a moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    threads: BTreeMap<u32, Thread>,
    machine: Duration,
}

#[derive(Debug, Clone)]
struct Thread {
    name: String,
    time: Duration,
}

/// CPU time between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// CPU time of the threads with the given names.
    pub named: Duration,
    /// All other threads of the process.
    pub rest: Duration,
    /// CPU time of everything else on the machine.
    pub others: Duration,
}

impl Snapshot {
    /// A process now, with the kernel's workers for its io_uring, which are its threads.
    pub fn of(process: u32) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let path = entry?.path();
            let id = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let read = |file| fs::read_to_string(path.join(file));
            // A thread may end meanwhile.
            if let (Some(id), Ok(name), Ok(time)) = (id, read("comm"), read("schedstat")) {
                let time = on_cpu(&time).ok_or_else(|| io::Error::other("no schedstat"))?;
                let name = name.trim_end().to_owned();
                threads.insert(id, Thread { name, time });
            }
        }
        Ok(Self {
            threads,
            machine: machine()?,
        })
    }

    /// CPU time since an earlier snapshot; none if no thread has any of the names. Threads that ended meanwhile are
    /// left out: those are workers that were idle for seconds.
    pub fn since(&self, earlier: &Self, names: &[&str]) -> Option<Spent> {
        let mut spent = Spent {
            named: Duration::ZERO,
            rest: Duration::ZERO,
            others: Duration::ZERO,
        };
        let mut found = false;
        for (id, thread) in &self.threads {
            let before = earlier.threads.get(id).map(|thread| thread.time);
            let time = thread.time.saturating_sub(before.unwrap_or_default());
            if names.contains(&thread.name.as_str()) {
                spent.named += time;
                found = true;
            } else {
                spent.rest += time;
            }
        }
        let machine = self.machine.saturating_sub(earlier.machine);
        spent.others = machine.saturating_sub(spent.named + spent.rest);
        found.then_some(spent)
    }
}

/// CPU time of all processes that this one has started and waited for.
pub fn children() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    of_children(&stat).ok_or_else(|| io::Error::other("a strange /proc/self/stat"))
}

/// Busy time of all CPUs, time stolen by the hypervisor included.
pub fn machine() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    busy(&stat).ok_or_else(|| io::Error::other("a strange /proc/stat"))
}

/// Waits until the machine is quiet, at most until that moment.
pub fn await_quiet(deadline: Instant) -> io::Result<()> {
    while Instant::now() < deadline {
        let before = machine()?;
        thread::sleep(LOOK);
        if machine()?.saturating_sub(before) < LOOK / QUIET {
            break;
        }
    }
    Ok(())
}

/// The load of the last minute.
pub fn load() -> io::Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}

fn on_cpu(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// proc(5): the fields after the name in parentheses begin with the third; cutime and cstime are the 16th and 17th.
fn of_children(stat: &str) -> Option<Duration> {
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut numbers = numbers.split_whitespace().skip(13);
    let mut ticks = || numbers.next()?.parse::<u64>().ok();
    Some(duration(ticks()? + ticks()?))
}

/// proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
fn busy(stat: &str) -> Option<Duration> {
    let mut ticks = 0;
    for (index, number) in stat.lines().next()?.split_whitespace().skip(1).enumerate() {
        if matches!(index, 0 | 1 | 2 | 5 | 6 | 7) {
            ticks += number.parse::<u64>().ok()?;
        }
    }
    Some(duration(ticks))
}

/// CPU time of a process since its start, by consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shares {
    /// Its guest.
    pub guest: Duration,
    /// The program itself.
    pub program: Duration,
    /// The host's kernel on its behalf, KVM included.
    pub kernel: Duration,
}

impl Shares {
    /// The shares of a process now.
    pub fn of(process: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        shares(&stat).ok_or_else(|| io::Error::other("no times in the process's stat"))
    }
}

/// Parses `/proc/…/stat`, whose user time includes the guest's.
fn shares(stat: &str) -> Option<Shares> {
    // The name in parentheses may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let time = |index: usize| Some(duration(fields.get(index)?.parse().ok()?));
    let (user, kernel, guest) = (time(11)?, time(12)?, time(40)?);
    Some(Shares {
        guest,
        program: user.saturating_sub(guest),
        kernel,
    })
}

fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks * TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn snapshot(threads: &[(u32, &str, u32)], machine: u32) -> Snapshot {
        let thread = |(id, name, time): &(u32, &str, u32)| {
            let thread = Thread {
                name: (*name).to_owned(),
                time: MILLISECOND * *time,
            };
            (*id, thread)
        };
        Snapshot {
            threads: threads.iter().map(thread).collect(),
            machine: MILLISECOND * machine,
        }
    }

    #[test]
    fn the_named_threads_time_is_separated_from_the_rest() {
        let before = snapshot(&[(1, "main", 5), (2, "vcpu0", 100), (3, "gone", 9)], 1000);
        let after = snapshot(
            &[(1, "main", 7), (2, "vcpu0", 150), (4, "iou-wrk-1", 30)],
            1100,
        );
        let spent = Spent {
            named: MILLISECOND * 50,
            rest: MILLISECOND * 32,
            others: MILLISECOND * 18,
        };
        assert_eq!(after.since(&before, &["vcpu0", "vcpu1"]), Some(spent));
        assert_eq!(after.since(&before, &["vcpu1"]), None);
    }

    #[test]
    fn the_kernels_stat_files_are_parsed() {
        assert_eq!(on_cpu("1500000 7 8\n"), Some(MILLISECOND * 3 / 2));
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 200 30 12 20 0 1 0";
        assert_eq!(of_children(stat), Some(MILLISECOND * 420));
        let stat = "cpu  100 10 1 5000 600 2 3 4 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy(stat), Some(MILLISECOND * 1200));
    }

    #[test]
    fn guest_time_is_separated_from_the_programs() {
        let zeros = ["0"; 25].join(" ");
        let stat = format!("7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 20 5 6 {zeros} 70 0");
        let expected = Shares {
            guest: MILLISECOND * 700,
            program: MILLISECOND * 300,
            kernel: MILLISECOND * 200,
        };
        assert_eq!(shares(&stat), Some(expected));
        assert!(Shares::of(std::process::id()).is_ok());
        assert_eq!(shares("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_spent_time() {
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let before = Snapshot::of(std::process::id()).unwrap();
        let now = Snapshot::of(std::process::id()).unwrap();
        assert!(now.since(&before, &[name.trim_end()]).is_some());
    }
}
