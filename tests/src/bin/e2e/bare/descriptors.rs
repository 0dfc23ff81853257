//! A machine that runs out of descriptors: it completes what it has begun, and reports what it cannot do.

use faultvisor_tests::bare::BareMachine;
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::RunState;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::races::{end, let_pass, storming};
use super::statistics::statistics;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    without_descriptors_a_stop_still_waits_for_the_disks,
    without_descriptors_a_reset_fails_and_one_with_them_starts_the_guest_again,
    without_descriptors_quit_ends_the_program_with_0,
];

/// Sets the limit on the program's descriptors; `None` restores it.
fn limit(machine: &BareMachine, descriptors: Option<u64>) -> Result<(), Failure> {
    let pid = i32::try_from(machine.machine.id())
        .ok()
        .and_then(Pid::from_raw);
    let limit = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: descriptors.or(limit.current),
        maximum: limit.maximum,
    };
    prlimit(pid, Resource::Nofile, limit)?;
    Ok(())
}

/// Fewer than the program has open, so that it gets no other. Below 4 the host would refuse a duplicate as invalid.
const NONE_LEFT: Option<u64> = Some(4);

/// The first disk's counts of operations.
fn done(client: &Client) -> Result<[Option<u64>; 3], Failure> {
    let statistics = statistics(client)?;
    let kinds = ["rd_operations", "wr_operations", "flush_operations"];
    Ok(kinds.map(|kind| statistics[kind].as_u64()))
}

/// Fails if the program has reported the lack of descriptors.
fn check_silence(machine: &BareMachine) -> Result<(), Failure> {
    let messages = machine.machine.messages().text();
    check!(
        !messages.contains("Too many open files"),
        "it says: {messages}"
    );
    Ok(())
}

fn without_descriptors_a_stop_still_waits_for_the_disks(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = storming(context, 50, "")?;
    limit(&machine, NONE_LEFT)?;
    for turn in 0..20 {
        client.stop()?;
        let at_rest = done(&client)?;
        let_pass(&client, 30)?;
        check!(
            done(&client)? == at_rest,
            "turn {turn}: a disk worked after the stop"
        );
        client.cont()?;
        let_pass(&client, 3)?;
    }
    check_silence(&machine)?;
    limit(&machine, None)?;
    machine.report("stormed")?;
    end(context, machine, 50)
}

fn without_descriptors_a_reset_fails_and_one_with_them_starts_the_guest_again(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = storming(context, 51, "")?;
    for turn in 0..5 {
        let_pass(&client, turn)?;
        client.take_events()?;
        limit(&machine, NONE_LEFT)?;
        let Err(error) = client.system_reset() else {
            return Err(Failure::new("a machine was made without a descriptor"));
        };
        let error = error.to_string();
        check!(error.contains("cannot start again"), "{error}");
        let names: Vec<_> = client.take_events()?;
        let names: Vec<_> = names.iter().map(|event| event.name.as_str()).collect();
        check_eq!(names, ["RESET", "STOP"]);
        check_eq!(client.query_status()?.status, RunState::InternalError);
        let at_rest = done(&client)?;
        let_pass(&client, 20)?;
        check_eq!(done(&client)?, at_rest);
        // Only a reset helps, and that still cannot be done.
        check!(client.cont().is_err(), "it goes on");
        check!(client.system_reset().is_err(), "it has been reset");
        limit(&machine, None)?;
        client.system_reset()?;
        check_eq!(client.query_status()?.status, RunState::Prelaunch);
        client.cont()?;
        machine.report("start")?;
        machine.report("storming")?;
    }
    machine.report("stormed")?;
    end(context, machine, 51)
}

fn without_descriptors_quit_ends_the_program_with_0(context: &Context) -> Result<(), Failure> {
    for seed in 52..55 {
        let (mut machine, client) = storming(context, seed, "")?;
        limit(&machine, NONE_LEFT)?;
        client.quit()?;
        machine.ends_well()?;
        check_silence(&machine)?;
    }
    Ok(())
}
