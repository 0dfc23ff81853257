//! Guest memory on the host: allocated on first access, or from the start.

use std::fs;

use faultvisor_tests::bare::Plan;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, resident, tests};

use crate::wrong_use;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    untouched_guest_memory_is_not_allocated,
    preallocated_memory_stays_allocated_after_a_reset,
    more_memory_than_the_host_has_is_refused,
    memory_beyond_the_vcpus_address_width_is_refused,
];

/// Memory of the program beside its guest's, and what the bare-metal guest touches: some huge pages.
const LITTLE: u64 = 48 << 20;

fn untouched_guest_memory_is_not_allocated(context: &Context) -> Result<(), Failure> {
    // With memory below and above the hole.
    let plan = Plan::new(context, "choose")?.options(&["-m", "4G"]);
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let resident = resident::of_process(&machine.machine)?;
    check!(resident < LITTLE, "{resident} bytes are resident");
    let client = machine.client()?.only(&["RESET"]);
    client.execute("system_reset")?;
    client.wait_for_event("RESET")?;
    machine.report("choose")?;
    let resident = resident::of_process(&machine.machine)?;
    check!(
        resident < LITTLE,
        "{resident} bytes are resident after a reset"
    );
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn preallocated_memory_stays_allocated_after_a_reset(context: &Context) -> Result<(), Failure> {
    const MEMORY: u64 = 192 << 20;
    let options = ["-m", "192M", "-mem-prealloc", "--smp", "2"];
    let mut machine = Plan::new(context, "choose")?.options(&options).start()?;
    let client = machine.client()?.only(&["RESET"]);
    for _ in 0..2 {
        // The guest starts over each time: it finds what it found the first time.
        machine.report("choose")?;
        let resident = resident::of_process(&machine.machine)?;
        check!(resident >= MEMORY, "only {resident} bytes are resident");
        check!(resident < MEMORY + LITTLE, "{resident} bytes are resident");
        client.execute("system_reset")?;
        client.wait_for_event("RESET")?;
    }
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

/// Starts the program with options that it refuses, and returns its error line.
fn refused(context: &Context, options: &[&str]) -> Result<String, Failure> {
    let mut command = Plan::new(context, "choose")?
        .options(options)
        .into_command();
    let text = wrong_use::refused(&mut command)?;
    check!(text.lines().count() == 1, "it says: {text}");
    Ok(text)
}

fn more_memory_than_the_host_has_is_refused(context: &Context) -> Result<(), Failure> {
    // A quarter more than the host's memory, swap included.
    let info = fs::read_to_string("/proc/meminfo")?;
    let kib = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let gib = (kib("MemTotal:") + kib("SwapTotal:")).div_ceil(4 << 20) * 5 + 1;
    let size = format!("{gib}G");
    let start = format!(
        "faultvisor: cannot allocate {} bytes of guest memory: ",
        gib << 30
    );
    let text = refused(context, &["-m", &size, "--mem-prealloc"])?;
    let said = format!("{start}all of it is to be there (--mem-prealloc), and the host has ");
    check!(text.starts_with(&said), "it says: {text}");
    let text = refused(context, &["-m", &size, "--mem-hugepages"])?;
    check!(text.starts_with(&start), "it says: {text}");
    check!(text.contains("huge pages"), "it says: {text}");
    Ok(())
}

fn memory_beyond_the_vcpus_address_width_is_refused(context: &Context) -> Result<(), Failure> {
    // 4 EiB: more than 52 bits, the most of any CPU.
    let text = refused(context, &["-m", "4194304T"])?;
    let said = "faultvisor: -m: memory up to guest address 0x";
    check!(text.starts_with(said), "it says: {text}");
    check!(text.contains(" bits of address"), "it says: {text}");
    Ok(())
}
