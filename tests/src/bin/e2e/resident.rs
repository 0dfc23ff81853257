//! What a machine's process takes of the host's memory.

use std::fs;

use faultvisor_harness::Process;
use faultvisor_tests::suite::Failure;

/// Resident bytes of a process, guest memory included.
pub fn of_process(process: &Process) -> Result<u64, Failure> {
    status(process, "VmRSS:")
}

/// Bytes that a process has of the host's pool of huge pages, which are not counted as resident.
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
