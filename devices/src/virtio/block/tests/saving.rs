//! A disk as plain data.

use serde_json::Value;

use super::driver::*;
use super::fakes::DEADLINE;
use crate::block::model::errno::Errno;
use crate::life_cycle::{RestoreError, SaveError, State};
use crate::virtio::device::VirtioDevice;

/// A sleeping disk that has served two requests.
fn asleep() -> Machine {
    let mut machine = Setup::default().start();
    for slot in [0, 1] {
        let token = machine.submit(slot, IN, 0, 512).0;
        machine.end(token, Ok(()));
        machine.wait_used(1);
    }
    machine.pause().recv_timeout(DEADLINE).unwrap();
    machine
}

/// Its state except for the time since its last request, which continues.
fn saved(machine: &Machine) -> Value {
    let mut state = serde_json::to_value(machine.disk.save().unwrap()).unwrap();
    state["statistics"]["idle_ns"].take();
    state
}

#[test]
fn a_restored_disk_counts_its_requests_on() {
    let mut machine = asleep();
    let state = machine.disk.save().unwrap();
    let mut restored = Setup::default().stopped();
    restored.disk.restore(&state, &Vec::new()).unwrap();
    assert_eq!(saved(&restored), saved(&machine));
    restored.initialize();
    restored.resume();
    machine.resume();
    let third = machine.submit(2, IN, 0, 512).0;
    assert_eq!(restored.submit(0, IN, 0, 512).0, third);
}

#[test]
fn a_disk_that_runs_is_not_saved_and_one_that_owes_its_driver_an_answer_is() {
    let is_busy = |machine: &Machine| matches!(machine.disk.save(), Err(SaveError::Busy));
    let mut machine = Setup::policy("stop", "stop").start();
    assert!(is_busy(&machine));
    let token = machine.submit(0, IN, 0, 512).0;
    machine.end(token, Err(Errno::EIO));
    machine.hear_stop();
    machine.pause().recv_timeout(DEADLINE).unwrap();
    // The request is held.
    assert_eq!(saved(&machine)["waiting"].as_array().unwrap().len(), 1);
    machine.resume();
    assert!(is_busy(&machine));
    let (token, _) = machine.backend.next();
    machine.end(token, Ok(()));
    machine.wait_used(1);
    machine.pause().recv_timeout(DEADLINE).unwrap();
    assert_eq!(saved(&machine)["waiting"].as_array().unwrap().len(), 0);
}

#[test]
fn a_state_that_no_such_disk_has_is_refused_and_changes_nothing() {
    let machine = asleep();
    let before = machine.disk.save().unwrap();
    let unchanged = saved(&machine);
    let good = serde_json::to_value(&before).unwrap();
    let refuse = |damage: &dyn Fn(&mut Value)| {
        let mut damaged = good.clone();
        damage(&mut damaged);
        let state: State = serde_json::from_value(damaged).unwrap();
        let refused = machine.disk.restore(&state, &Vec::new()).unwrap_err();
        assert_eq!(saved(&machine), unchanged);
        refused
    };
    let refused = refuse(&|state| state["space"]["sectors"] = 65.into());
    assert!(matches!(refused, RestoreError::Mismatch { .. }));
    let refused = refuse(&|state| state["requests"] = u64::MAX.into());
    assert!(matches!(refused, RestoreError::OutOfRange { .. }));
    let refused = refuse(&|state| state["more"] = 0.into());
    assert!(matches!(refused, RestoreError::Malformed(_)));
    let running = Setup::default().start();
    let refused = running.disk.restore(&before, &Vec::new());
    assert!(matches!(refused, Err(RestoreError::Busy)));
}
