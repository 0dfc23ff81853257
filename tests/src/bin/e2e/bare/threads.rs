//! Names of threads, for pinning, and other information about the machine's parts.

use std::collections::BTreeSet;
use std::fs;

use faultvisor_tests::bare::{BareMachine, Plan};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{CpuInstanceProperties, SysEmuTarget};

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    each_of_64_vcpus_has_a_thread_that_can_be_found,
    each_disk_has_a_thread_that_can_be_found,
    the_reported_memory_is_the_requested_one,
    a_machine_without_acpi_has_no_power_button,
];

/// The name of a thread of the machine's.
fn thread_name(machine: &BareMachine, thread: i64) -> Result<String, Failure> {
    let path = format!("/proc/{}/task/{thread}/comm", machine.machine.id());
    Ok(fs::read_to_string(path)?.trim_end().to_owned())
}

fn each_of_64_vcpus_has_a_thread_that_can_be_found(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "choose")?
        .options(&["--smp", "64"])
        .start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let check_threads = || -> Result<BTreeSet<i64>, Failure> {
        let cpus = client.query_cpus_fast()?;
        check_eq!(cpus.len(), 64);
        for (index, cpu) in (0..).zip(&cpus) {
            check_eq!(cpu.cpu_index, index);
            check_eq!(cpu.target, SysEmuTarget::X8664);
            let place = CpuInstanceProperties {
                socket_id: Some(0),
                core_id: Some(index),
                thread_id: Some(0),
            };
            check_eq!(cpu.props.as_ref(), Some(&place));
            check_eq!(
                thread_name(&machine, cpu.thread_id)?,
                format!("vcpu{index}")
            );
        }
        let threads: BTreeSet<_> = cpus.iter().map(|cpu| cpu.thread_id).collect();
        check_eq!(threads.len(), 64);
        Ok(threads)
    };
    let before = check_threads()?;
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    let after = check_threads()?;
    check!(before.is_disjoint(&after), "vCPUs that outlive a reset");
    client.quit()?;
    machine.ends_well()
}

fn each_disk_has_a_thread_that_can_be_found(context: &Context) -> Result<(), Failure> {
    let (one, other) = (image(context, "a", 1, 8)?, image(context, "b", 2, 8)?);
    let plan = Plan::new(context, "choose")?.disk(&one, "id=first");
    let mut machine = plan.disk(&other, "id=a-rather-long-name").start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let threads = client.query_iothreads()?;
    let ids: Vec<_> = threads.iter().map(|thread| thread.id.as_str()).collect();
    check_eq!(ids, ["disk-first", "disk-a-rather-long-name"]);
    for thread in &threads {
        // The host truncates a name to 15 bytes.
        let expected: String = thread.id.chars().take(15).collect();
        check_eq!(thread_name(&machine, thread.thread_id)?, expected);
    }
    client.quit()?;
    machine.ends_well()
}

fn the_reported_memory_is_the_requested_one(context: &Context) -> Result<(), Failure> {
    for (size, bytes) in [("48M", 48 << 20), ("4G", 4 << 30)] {
        let mut machine = Plan::new(context, "choose")?
            .options(&["-m", size])
            .start()?;
        machine.report("choose")?;
        let client = machine.client()?;
        let memory = client.query_memory_size_summary()?;
        check_eq!(
            (memory.base_memory, memory.plugged_memory),
            (bytes, Some(0))
        );
        client.quit()?;
        machine.ends_well()?;
    }
    Ok(())
}

fn a_machine_without_acpi_has_no_power_button(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "choose")?
        .options(&["--no-acpi"])
        .start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let Err(refused) = client.system_powerdown() else {
        return Err(Failure::new("a button that is not there was pressed"));
    };
    let expected = "GenericError: The machine was started with --no-acpi and has no power button";
    check_eq!(refused.to_string(), expected);
    check_eq!(client.take_events()?.len(), 0);
    client.quit()?;
    machine.ends_well()
}
