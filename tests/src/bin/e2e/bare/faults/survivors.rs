//! What a volatile cache keeps at a power cut.

use std::fs;

use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::disk;
use super::volatile::{COUNT, LENGTH, all, check_is_sound, flushed, lost, prefix, start};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    none_or_all_of_the_unflushed_writes_survive,
    survival_by_prefix_keeps_the_first_writes_and_tears_the_next,
    random_survival_depends_on_the_seed_only,
];

/// Returns the disk after a power cut. Its original and flushed data must be intact, and the event must report the
/// loss.
fn cut(context: &Context, arguments: &Value) -> Result<Vec<u8>, Failure> {
    let mut rig = start(context, "setup 0")?;
    check!(
        fs::read(disk(context))? == flushed(),
        "more than what was flushed is on the disk"
    );
    let mut with_end = arguments.clone();
    with_end["then"] = json!("quit");
    rig.execute("block-power-cut", with_end)?;
    let event = rig.event("BLOCK_POWER_CUT")?.data.take();
    rig.ends_well()?;
    let image = fs::read(disk(context))?;
    check_is_sound(&image)?;
    let (writes, sectors) = lost(&image);
    check_eq!(
        event,
        json!({
            "device": "d0", "survive": arguments["survive"], "seed": arguments["seed"],
            "writes": writes, "sectors": sectors,
        })
    );
    Ok(image)
}

fn none_or_all_of_the_unflushed_writes_survive(context: &Context) -> Result<(), Failure> {
    let none = cut(context, &json!({ "survive": "none", "seed": 1 }))?;
    check!(none == flushed(), "something has survived");
    check_eq!(lost(&none), (COUNT, COUNT * LENGTH));
    let survivors = cut(context, &json!({ "survive": "all", "seed": 1 }))?;
    check!(survivors == all(), "something was lost");
    Ok(())
}

fn survival_by_prefix_keeps_the_first_writes_and_tears_the_next(
    context: &Context,
) -> Result<(), Failure> {
    let mut lengths = Vec::new();
    for (seed, tear_bytes) in [(1, 512), (1, 512), (2, 512), (3, 512), (3, 16), (4, 16)] {
        let arguments = json!({ "survive": "prefix", "seed": seed, "tear-bytes": tear_bytes });
        let image = cut(context, &arguments)?;
        let length = prefix(&image)?;
        // A byte that is equal before and after may seem to survive; whole sectors have none.
        check!(tear_bytes < 512 || length % 512 < 8, "{length} bytes");
        lengths.push(length);
    }
    check_eq!(lengths[0], lengths[1]);
    lengths.sort_unstable();
    lengths.dedup();
    check!(lengths.len() >= 4, "only {lengths:?} have survived");
    Ok(())
}

fn random_survival_depends_on_the_seed_only(context: &Context) -> Result<(), Failure> {
    let mut images = Vec::new();
    for seed in [1, 1, 2] {
        let image = cut(context, &json!({ "survive": "random", "seed": seed }))?;
        let (_, sectors) = lost(&image);
        let half = COUNT * LENGTH / 2;
        check!(
            sectors.abs_diff(half) < 45,
            "{sectors} sectors were lost of {}",
            2 * half
        );
        images.push(image);
    }
    check!(
        images[0] == images[1],
        "the same seed has left other sectors"
    );
    check!(
        images[0] != images[2],
        "another seed has left the same sectors"
    );
    Ok(())
}
