//! Which CPUs a measurement has. Left to the scheduler, a server runs now on the client's CPU and now on another, and what
//! is measured is mostly which: to wake a CPU that sleeps takes longer than everything else in a round trip.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Measured;

/// Where the client runs, and where all other processes do.
pub struct Cpus {
    client: CpuSet,
    peers: CpuSet,
}

impl Cpus {
    /// The client on a CPU of its own and the others on the rest, as on a machine that has enough; and everything on one
    /// CPU. The same, where there is only one.
    pub fn divide() -> Measured<(Self, Self)> {
        let all = sched_getaffinity(None)?;
        let is_there = |cpu: &usize| all.is_set(*cpu);
        let first = (0..CpuSet::MAX_CPU).find(is_there).ok_or("no CPU")?;
        let mut client = CpuSet::new();
        client.set(first);
        let mut others = all;
        if all.count() > 1 {
            others.unset(first);
        }
        let apart = Self {
            client,
            peers: others,
        };
        let together = Self {
            client,
            peers: client,
        };
        Ok((apart, together))
    }

    /// Does something, such as to start a process, on the CPUs of the others; this goes on where the client runs.
    pub fn for_peers<T>(&self, act: impl FnOnce() -> T) -> Measured<T> {
        sched_setaffinity(None, &self.peers)?;
        let done = act();
        sched_setaffinity(None, &self.client)?;
        Ok(done)
    }
}
