//! A machine's resident memory.

use std::fs;

use faultvisor_harness::Process;

use crate::suite::Failure;

/// Resident bytes of a process, guest memory included.
pub fn of_process(process: &Process) -> Result<u64, Failure> {
    status(process, "VmRSS:")
}

/// Bytes of a process in the host's huge page pool, which are not counted as resident.
pub fn huge_pages_of_process(process: &Process) -> Result<u64, Failure> {
    status(process, "HugetlbPages:")
}

fn status(process: &Process, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: Option<u64> = number.and_then(|number| number.trim().parse().ok());
    let kib = kib.ok_or_else(|| Failure::new(format!("no '{name}' in '{text}'")))?;
    Ok(kib * 1024)
}

/// The resident KiB in `smaps` (`/proc/PID/smaps`) of all mappings that are smaller than the guest's memory.
pub fn beside_guest(smaps: &str, guest_memory_kib: u64) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_memory_is_not_counted() {
        let smaps = "7f00-7f01 rw-p\nSize:  262144 kB\nRss:  80000 kB\n55-56 r-xp\nSize:  100 kB\nRss:   64 kB\nPss: 1 kB\n";
        assert_eq!(beside_guest(smaps, 256 * 1024), 64);
    }
}
