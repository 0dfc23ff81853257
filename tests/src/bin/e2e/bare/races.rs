//! Commands that race with requests in flight and held. Each seed gives another sequence of events.

use std::fs;
use std::time::Instant;

use faultvisor_tests::bare::{BareMachine, Plan, SOON, pattern};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, tests};
use serde_json::json;

use super::io::check_storm;
use super::{check_event, image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    stop_and_cont_during_a_storm_lose_and_repeat_nothing,
    errors_stop_and_cont_during_a_storm_lose_and_repeat_nothing,
    limits_that_change_during_a_storm_lose_and_repeat_nothing,
    system_reset_during_a_storm_starts_a_guest_that_works,
    quit_during_a_storm_ends_the_program_at_once,
];

const SECTORS: usize = 4;
const REQUESTS: u64 = 12000;

pub(super) fn storming(
    context: &Context,
    seed: u64,
    options: &str,
) -> Result<(BareMachine, Client), Failure> {
    let disk = image(context, "disk", 1, usize::try_from(REQUESTS)? * SECTORS)?;
    let script = format!("setup 0\nstorm 0 0 {SECTORS} {REQUESTS} 200 {seed}\nchoose");
    let mut machine = Plan::new(context, &script)?.disk(&disk, options).start()?;
    let client = machine.client()?;
    machine.report("storming")?;
    Ok((machine, client))
}

/// Lets the guest work for as long as that many commands take.
pub(super) fn let_pass(client: &Client, commands: u64) -> Result<(), Failure> {
    for _ in 0..commands {
        client.execute("query-kvm")?;
    }
    Ok(())
}

/// Calls `turn` with increasing numbers until the storm ends.
fn until_the_end(
    machine: &mut BareMachine,
    mut turn: impl FnMut(&BareMachine, u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + SOON;
    let mut turns = 0;
    while !machine.machine.serial().text().contains(" stormed ") {
        check!(
            Instant::now() < deadline,
            "the storm has not ended after {turns} turns"
        );
        turn(machine, turns)?;
        turns += 1;
    }
    check!(turns > 10, "the storm was over after {turns} turns");
    machine.report("stormed")?.expect(REQUESTS, 0, 0)
}

/// Powers the guest off, and checks its writes.
pub(super) fn end(context: &Context, mut machine: BareMachine, seed: u64) -> Result<(), Failure> {
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    let image = fs::read(context.path("disk"))?;
    check_storm(&image, seed, 1, REQUESTS, SECTORS)
}

fn stop_and_cont_during_a_storm_lose_and_repeat_nothing(context: &Context) -> Result<(), Failure> {
    for seed in 0..3 {
        let (mut machine, client) = storming(context, seed, "")?;
        until_the_end(&mut machine, |_, turn| {
            let chance = pattern::mix(seed << 32 | turn);
            client.stop()?;
            let_pass(&client, chance % 3)?;
            client.cont()?;
            let_pass(&client, chance >> 8 & 7)
        })?;
        end(context, machine, seed)?;
    }
    Ok(())
}

fn limits_that_change_during_a_storm_lose_and_repeat_nothing(
    context: &Context,
) -> Result<(), Failure> {
    for seed in 20..22 {
        let (mut machine, client) = storming(context, seed, "id=d0")?;
        until_the_end(&mut machine, |_, turn| {
            let chance = pattern::mix(seed << 32 | turn);
            // Only every other turn, to keep the storm short.
            let limits = if turn % 2 == 0 {
                [0, 0, 0]
            } else {
                [chance & 0xfff, chance >> 16 & 0xff_ffff, chance >> 48 & 1]
            };
            let arguments = json!({
                "id": "d0", "iops": limits[0], "bps": limits[1], "bps_rd": 0, "bps_wr": 0,
                "iops_rd": 0, "iops_wr": 0,
            });
            client.execute_with("block_set_io_throttle", arguments)?;
            let_pass(&client, chance >> 40 & 7)?;
            if limits[2] == 1 {
                client.stop()?;
                let_pass(&client, chance % 3)?;
                client.cont()?;
            }
            Ok(())
        })?;
        end(context, machine, seed)?;
    }
    Ok(())
}

fn errors_stop_and_cont_during_a_storm_lose_and_repeat_nothing(
    context: &Context,
) -> Result<(), Failure> {
    for seed in 10..13 {
        let (mut machine, client) = storming(context, seed, "werror=stop")?;
        until_the_end(&mut machine, |machine, turn| {
            let chance = pattern::mix(seed << 32 | turn);
            // Writes beyond this sector fail; on every other turn, none does.
            let place = chance % (REQUESTS * SECTORS as u64 * 512);
            let limit = Some(place).filter(|_| turn % 2 == 0);
            limit_file_size(&machine.machine, limit)?;
            let_pass(&client, chance >> 32 & 7)?;
            if chance >> 40 & 1 == 1 {
                client.stop()?;
            }
            client.cont().map(drop)?;
            Ok(())
        })?;
        limit_file_size(&machine.machine, None)?;
        // Nothing holds a request that failed before the end any more.
        client.cont()?;
        end(context, machine, seed)?;
    }
    Ok(())
}

fn system_reset_during_a_storm_starts_a_guest_that_works(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = storming(context, 20, "")?;
    for turn in 0..15 {
        let chance = pattern::mix(turn);
        let_pass(&client, chance % 8)?;
        if chance >> 8 & 1 == 1 {
            client.stop()?;
        }
        client.system_reset()?;
        client.wait_for_event("RESET")?;
        if chance >> 8 & 1 == 1 {
            client.cont()?;
        }
        machine.report("start")?;
        machine.report("storming")?;
    }
    machine.report("stormed")?.expect(REQUESTS, 0, 0)?;
    end(context, machine, 20)
}

fn quit_during_a_storm_ends_the_program_at_once(context: &Context) -> Result<(), Failure> {
    for seed in 30..45 {
        let (mut machine, client) = storming(context, seed, "werror=stop")?;
        let chance = pattern::mix(seed);
        let_pass(&client, chance % 6)?;
        if chance >> 8 & 1 == 1 {
            limit_file_size(
                &machine.machine,
                Some(chance % (REQUESTS * SECTORS as u64 * 512)),
            )?;
            let_pass(&client, chance >> 16 & 3)?;
        }
        client.quit()?;
        let event = client.wait_for_event("SHUTDOWN")?;
        check_event(&event, "SHUTDOWN", &[("reason", json!("host-qmp-quit"))])?;
        machine.ends_well()?;
    }
    Ok(())
}
