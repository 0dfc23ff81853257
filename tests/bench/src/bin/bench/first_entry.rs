//! The program's time from exec to its first KVM_RUN, on this machine's KVM, of any kind.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use faultvisor_harness::Process;
use faultvisor_tests::guest::GuestImages;

use crate::console;

/// The program's log line before its first KVM_RUN.
const ENTERED: &str = "vcpu0: enters the guest";
const LIMIT: Duration = Duration::from_secs(30);

/// Starts the program `runs` times, and prints the median.
pub fn measure(
    name: &str,
    program: &Path,
    guest: &GuestImages,
    runs: usize,
    memory_mib: u64,
) -> Result<(), Box<dyn Error>> {
    let mut milliseconds = Vec::new();
    for _ in 0..runs {
        let mut command = Command::new(program);
        command
            .env("FAULTVISOR_LOG", "debug")
            .arg("--kernel")
            .arg(guest.vmlinux())
            .arg("--initrd")
            .arg(guest.initramfs())
            .args(["-m", &format!("{memory_mib}M"), "--serial", "null"]);
        let mut machine = Process::spawn(&mut command)?;
        let started = machine.started();
        let (_, line) = machine
            .messages()
            .find(0, Instant::now() + LIMIT, |line| line.contains(ENTERED))?;
        milliseconds.push((line.at - started).as_secs_f64() * 1000.0);
        machine.kill()?;
    }
    milliseconds.sort_by(f64::total_cmp);
    if let (Some(first), Some(last)) = (milliseconds.first(), milliseconds.last()) {
        console::line(&format!(
            "{name}: exec to first KVM_RUN on this machine's KVM {:.1} ms (median of {runs}, {first:.1} to {last:.1})",
            milliseconds[milliseconds.len() / 2],
        ));
    }
    Ok(())
}
