//! CPU affinity of a measurement. The scheduler would place a server on the client's CPU or on another at random, and
//! waking a sleeping CPU takes longer than the rest of a round trip.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Measured;

/// The CPUs of the client, and those of all other processes.
pub struct Cpus {
    client: CpuSet,
    peers: CpuSet,
}

impl Cpus {
    /// Two sets: the client on a CPU of its own and the others on the rest; and everything on one CPU. Both are equal
    /// if there is only one.
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

    /// Runs `act`, which may start a process, on the peers' CPUs; then returns to the client's.
    pub fn for_peers<T>(&self, act: impl FnOnce() -> T) -> Measured<T> {
        sched_setaffinity(None, &self.peers)?;
        let done = act();
        sched_setaffinity(None, &self.client)?;
        Ok(done)
    }
}
