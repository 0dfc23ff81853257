//! The write cache, as set on the command line and switched by a driver.

use faultvisor_tests::bare::{BareMachine, Plan};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::image;
use super::statistics::go;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_driver_switches_the_write_cache_until_the_next_reset,
    without_the_feature_a_driver_cannot_switch_the_write_cache,
];

/// VIRTIO_BLK_F_CONFIG_WCE.
const CONFIG_WCE: u64 = 1 << 11;

/// Fails unless the guest and the monitor agree on this cache mode.
fn check_cache(machine: &mut BareMachine, client: &Client, on: bool) -> Result<(), Failure> {
    check_eq!(machine.report("byte")?.number("value")?, u64::from(on));
    machine.report("choose")?;
    let disks = client.execute("query-block")?;
    check_eq!(disks[0]["inserted"]["cache"]["writeback"], on);
    let nodes = client.execute("query-named-block-nodes")?;
    check_eq!(nodes[0]["cache"]["writeback"], on);
    go(machine)
}

fn a_driver_switches_the_write_cache_until_the_next_reset(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    for (cache, at_first) in [
        ("writeback", true),
        ("none", true),
        ("writethrough", false),
        ("directsync", false),
    ] {
        let other = u8::from(!at_first);
        let script = format!(
            "setup 0\nbyte 0 0x120\nchoose\n\
             byte 0 0x120 {other}\nchoose\nwrite 0 0 8 2\nflush 0\nwrite 0 8 1 2\n\
             byte 0 0x120 {}\nchoose\nwrite 0 0 8 2\n\
             byte 0 0x120 {other}\nchoose\n\
             reset 0\nbyte 0 0x120\nchoose\n\
             setup 0\nbyte 0 0x120 {other}\nchoose\n\
             choose\nbyte 0 0x120\nchoose\nexit off",
            1 - other
        );
        let plan = Plan::new(context, &script)?.disk(&disk, &format!("cache={cache}"));
        let mut machine = plan.start()?;
        let setup = machine.report("setup")?;
        check!(setup.number("offered")? & CONFIG_WCE != 0, "{}", setup.line);
        let client = machine.client()?;
        let cache = [
            at_first, !at_first, at_first, !at_first, at_first, !at_first,
        ];
        for (step, on) in cache.into_iter().enumerate() {
            check_cache(&mut machine, &client, on)?;
            let requests = match step {
                1 => 3,
                2 => 1,
                _ => 0,
            };
            for _ in 0..requests {
                machine.report("done")?.expect(1, 0, 0)?;
            }
        }
        // A reset of the machine resets it, too.
        machine.report("choose")?;
        client.system_reset()?;
        client.wait_for_event("RESET")?;
        machine.report("setup")?;
        check_cache(&mut machine, &client, at_first)?;
        client.quit()?;
        machine.ends_well()?;
    }
    Ok(())
}

fn without_the_feature_a_driver_cannot_switch_the_write_cache(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    for (options, setup) in [
        ("config-wce=off", "setup 0"),
        ("", "setup 0 features=0x130000200"),
    ] {
        // A write of another width, or at another offset, has no effect.
        let script = format!(
            "{setup}\nbyte 0 0x120 0\nchoose\nwrite 0 0 8 2\nregister 0 0x120 0\nbyte 0 0x121 0\n\
             byte 0 0x100 9\nbyte 0 0x120\nchoose\nread 0 56 8\nexit off"
        );
        let mut machine = Plan::new(context, &script)?.disk(&disk, options).start()?;
        let offered = machine.report("setup")?.number("offered")?;
        check_eq!(offered & CONFIG_WCE == 0, !options.is_empty());
        let client = machine.client()?;
        check_cache(&mut machine, &client, true)?;
        machine.report("done")?.expect(1, 0, 0)?;
        check_eq!(machine.report("byte")?.number("value")?, 0);
        check_eq!(machine.report("byte")?.number("value")?, 64);
        check_cache(&mut machine, &client, true)?;
        machine.report("done")?.expect(1, 0, 0)?;
        machine.ends_well()?;
    }
    Ok(())
}
