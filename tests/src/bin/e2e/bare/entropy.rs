//! The entropy device: requests by hand, its limit, and its life cycle.

use std::time::{Duration, Instant};

use faultvisor_tests::bare::{BareMachine, Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_receives_different_entropy_each_time,
    a_limited_entropy_device_returns_at_most_its_quota_per_period,
    an_invalid_request_for_entropy_needs_a_reset,
    an_entropy_device_stops_goes_on_and_is_reset_with_its_machine,
];

/// Sets up the second device, the entropy device: VERSION_1 and no other feature.
const SETUP: &str = "setup 1 size=8 features=0x100000000\n";

/// Requests 512 bytes, and reports the result.
const ASK: &str = "descriptor 1 table 0 data 512 2 0\noffer 1 0\nkick 1\nused 1\n";

fn machine(context: &Context, script: &str, device: &str) -> Result<BareMachine, Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let plan = Plan::new(context, script)?.disk(&disk, "");
    plan.options(&["--device", device]).start()
}

/// The checksum of the 512 bytes.
fn entropy(machine: &mut BareMachine) -> Result<u64, Failure> {
    let used = machine.report("used")?;
    check_eq!(used.number("length")?, 512);
    used.number("sum")
}

fn a_guest_receives_different_entropy_each_time(context: &Context) -> Result<(), Failure> {
    let script = format!("{SETUP}{ASK}{ASK}{ASK}setup 0\nread 0 3 2\nexit off");
    let mut machine = machine(context, &script, "virtio-rng-device")?;
    let start = machine.report("start")?;
    check_eq!(start.number("disks")?, 2);
    let mut sums = vec![pattern::sum(&[0; 512])];
    for _ in 0..3 {
        sums.push(entropy(&mut machine)?);
    }
    sums.sort_unstable();
    sums.dedup();
    check_eq!(sums.len(), 4);
    // The disk before it keeps its address.
    let read = machine.report("done")?;
    read.expect(1, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(1, 3, 2)));
    machine.ends_well()
}

fn a_limited_entropy_device_returns_at_most_its_quota_per_period(
    context: &Context,
) -> Result<(), Failure> {
    let script = format!("{SETUP}{ASK}{ASK}{ASK}exit off");
    let began = Instant::now();
    let device = "virtio-rng-device,id=dice,max-bytes=100,period=300";
    let mut machine = machine(context, &script, device)?;
    for _ in 0..3 {
        check_eq!(machine.report("used")?.number("length")?, 100);
    }
    // The third completes at least two periods after the first.
    check!(began.elapsed() >= Duration::from_millis(600), "no limit");
    machine.ends_well()
}

fn an_invalid_request_for_entropy_needs_a_reset(context: &Context) -> Result<(), Failure> {
    let forbidden = [
        ("a readable buffer", "data 512 0 0"),
        ("no buffer", "data 0 2 0"),
        ("a loop", "data 512 3 0"),
        ("no memory", "0xfffffffffffff000 512 2 0"),
    ];
    let steps = forbidden.map(|(_, descriptor)| {
        format!(
            "{SETUP}descriptor 1 table 0 {descriptor}\noffer 1 0\nkick 1\nbroken 1\n{SETUP}{ASK}"
        )
    });
    let script = format!("{}exit off", steps.concat());
    let mut machine = machine(context, &script, "virtio-rng-device")?;
    for (name, _) in forbidden {
        let broken = machine.report("broken")?;
        let seen = (broken.number("status")?, broken.number("used")?);
        check!(seen == (0x4f, 0), "{name}: {seen:x?}");
        entropy(&mut machine)?;
    }
    machine.ends_well()
}

fn an_entropy_device_stops_goes_on_and_is_reset_with_its_machine(
    context: &Context,
) -> Result<(), Failure> {
    let script = format!("{SETUP}{ASK}choose\n{ASK}choose\nexit off");
    let mut machine = machine(context, &script, "virtio-rng-device")?;
    let client = machine.client()?;
    entropy(&mut machine)?;
    machine.report("choose")?;
    client.stop()?;
    client.cont()?;
    machine.machine.console().type_text("x")?;
    entropy(&mut machine)?;
    machine.report("choose")?;
    client.system_reset()?;
    // From the beginning.
    entropy(&mut machine)?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}
