//! Saving and restoring a disk.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use serde_json::{Value, json};

use super::super::{Hanging, Release};
use super::driver::*;
use super::fakes::{DEADLINE, Heard, fake_backend};
use crate::block::fault::rule::rule;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Loss, PowerCut, Survival};
use crate::block::model::request::Operation;
use crate::block::policy::error_policy::IoStatus;
use crate::block::policy::statistics::Kind;
use crate::block::throttle::group::Group;
use crate::block::throttle::limits::{Limit, Limits, Measure};
use crate::block::volatile::VolatileCache;
use crate::life_cycle::{RestoreError, State};
use crate::virtio::device::{Activation, VirtioDevice};
use crate::virtio::queue_state::QueueStates;
use crate::virtio::transport::mmio::interrupt::MmioInterrupt;

/// A disk with a held write and a hanging read.
fn waiting() -> Machine {
    let mut machine = Setup::policy("stop", "stop").start();
    let given = r#"{"id":"hang","device":"disk0","seed":1,"operations":["read"],"action":"hang"}"#;
    let given = serde_json::from_str(given).unwrap();
    machine.disk.change_faults(|engine| {
        let rule = rule(&given, 64).unwrap();
        engine.add(rule, given, Arc::default());
        engine.set_state("late");
    });
    machine.backend.barrier();
    machine.queue(1, IN, 2, 512);
    machine.kick();
    assert!(matches!(machine.hear(), Heard::Fault(_)));
    let (token, _) = machine.submit(3, OUT, 5, 512);
    machine.end(token, Err(Errno::ENOSPC));
    machine.hear_stop();
    machine
}

/// Its state and that of its queues, as in a file.
fn saved(machine: &Machine) -> (State, QueueStates) {
    let (sender, queues) = channel();
    machine.disk.sleep(Box::new(move |queues| {
        let _ = sender.send(queues);
    }));
    let queues = queues.recv_timeout(DEADLINE).unwrap().unwrap();
    let state = machine.disk.save().unwrap();
    let text = serde_json::to_string(&(state, queues)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Limits of this many bytes a second.
fn limits(average: u64) -> Limits {
    let limit = |measure| match measure {
        Measure::BpsTotal => Limit {
            average,
            ..Limit::default()
        },
        _ => Limit::default(),
    };
    Limits::new(limit, 0).unwrap()
}

fn reset(machine: &Machine) {
    let (sender, done) = channel();
    machine.disk.reset(Box::new(move || {
        let _ = sender.send(());
    }));
    done.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_restored_disk_continues_its_outstanding_requests() {
    let mut machine = waiting();
    machine.disk.write_threshold().set(1 << 20);
    let (state, queues) = saved(&machine);
    let invalid = machine.disk.statistics().counts(Kind::Write);
    reset(&machine);
    machine.disk.write_threshold().set(0);
    assert_eq!(machine.disk.faults().hanging, []);
    machine.disk.restore(&state, &queues).unwrap();
    assert_eq!(machine.disk.faults().hanging.len(), 1);
    assert_eq!(machine.disk.io_status(), IoStatus::NoSpace);
    assert_eq!(machine.disk.write_threshold().get(), 1 << 20);
    assert_eq!(machine.disk.statistics().counts(Kind::Write), invalid);
    let line = Arc::new(machine.line.try_clone().unwrap());
    machine.disk.activate(Activation {
        features: machine.setup.features,
        queues,
        interrupt: Arc::new(MmioInterrupt::new(line)),
    });
    machine.resume();
    let (token, request) = machine.backend.next();
    assert!(matches!(
        request.operation,
        Operation::Write { offset: 2560, .. }
    ));
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(head_of(3), 1)]);
    assert_eq!((machine.status(3), machine.status(1)), (OK, UNANSWERED));
    let released = |_| ();
    machine
        .disk
        .release(Hanging::default(), Release::Perform, released);
    let (token, request) = machine.backend.next();
    assert_eq!(request.operation, Operation::Read { offset: 1024 });
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(head_of(1), 513)]);
    assert_eq!(machine.status(1), OK);
}

/// The state with one value replaced, or removed.
fn changed(state: &State, place: &str, value: Value) -> State {
    let mut json = serde_json::to_value(state).unwrap();
    let (parent, member) = place.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap();
    match (parent, member.parse::<usize>()) {
        (Value::Array(elements), Ok(index)) => elements[index] = value,
        (Value::Object(members), _) if value == "removed" => {
            members.remove(member).unwrap();
        }
        (Value::Object(members), _) => drop(members.insert(member.to_owned(), value)),
        _ => panic!("{place}"),
    }
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_state_is_the_whole_disk_with_its_rules_and_its_limits() {
    let machine = waiting();
    let limits = limits(1_000_000);
    let group = Arc::new(Group::new("group".to_owned(), limits, Instant::now()));
    machine.disk.set_group(Some(group), Box::new(|| ()));
    machine.backend.barrier();
    let (state, queues) = saved(&machine);
    let other = Setup::policy("stop", "stop").stopped();
    other.disk.restore(&state, &queues).unwrap();
    assert_eq!(other.disk.save().unwrap(), state);
    let faults = other.disk.faults();
    assert_eq!((&*faults.state, faults.hanging.len()), ("late", 1));
    let group = other.disk.group().unwrap();
    assert_eq!((group.name(), group.limits()), ("group", limits));
    // Disks that share a group keep sharing it.
    group.set_limits(Limits::default(), Instant::now());
    other.disk.restore(&state, &queues).unwrap();
    assert!(Arc::ptr_eq(&group, &other.disk.group().unwrap()));
    assert_eq!(group.limits(), limits);
    let none = changed(&state, "/group", Value::Null);
    other.disk.restore(&none, &queues).unwrap();
    assert!(other.disk.group().is_none());
    other.backend.barrier();
}

#[test]
fn a_restored_rule_goes_on_counting() {
    let machine = waiting();
    let (state, queues) = saved(&machine);
    let other = Setup::policy("stop", "stop").stopped();
    other.disk.restore(&state, &queues).unwrap();
    let (sender, counts) = channel();
    other.disk.change_faults(move |engine| {
        let counts = engine.rules().map(|(rule, counts)| {
            let id = rule.id.clone().unwrap();
            (id, counts.matches(), counts.hits())
        });
        sender.send(counts.collect::<Vec<_>>()).unwrap();
    });
    let counts = counts.recv_timeout(DEADLINE).unwrap();
    assert_eq!(counts, [("hang".to_owned(), 1, 1)]);
}

/// A disk with a volatile cache over a medium that ends everything at once.
fn cached() -> Machine {
    let (medium, control) = fake_backend(64 * 512);
    control.end_at_once(Ok(()));
    let cache = VolatileCache::new(Box::new(medium), 1 << 20).unwrap();
    Setup::default().with_backend(Box::new(cache), control)
}

#[test]
fn a_restored_disk_loses_the_writes_that_its_driver_saw_complete_before_the_save() {
    let mut machine = cached();
    machine.initialize();
    machine.resume();
    machine.ask(0, OUT, 1, 512);
    machine.ask(1, OUT, 2, 1024);
    machine.wait_used(2);
    let (state, queues) = saved(&machine);
    let other = cached();
    other.disk.restore(&state, &queues).unwrap();
    let cut = PowerCut {
        survival: Survival::None,
        seed: 1,
        tear_bytes: 512,
    };
    other.disk.power_cut(cut, Box::new(|| ()));
    let Heard::PowerCut(report) = other.hear() else {
        panic!("no power cut");
    };
    let expected = Loss {
        writes: 2,
        sectors: 3,
    };
    assert_eq!(report.result, Ok(expected));
}

#[test]
fn a_state_that_no_such_disk_can_have_is_refused_and_changes_nothing() {
    let machine = waiting();
    let group = Group::new("group".to_owned(), limits(1000), Instant::now());
    machine
        .disk
        .set_group(Some(Arc::new(group)), Box::new(|| ()));
    machine.backend.barrier();
    let (state, queues) = saved(&machine);
    let range = |offset: u64, length: u64| json!({ "offset": offset, "length": length });
    let discard = |ranges: Value| {
        let operation = json!({ "discard": { "ranges": ranges } });
        json!({ "operation": operation, "segments": [] })
    };
    let segment = |length: u64| json!([{ "address": 0, "length": length }]);
    let delayed = |fate: Value, ns: u64| json!({ "delayed": { "fate": fate, "nanoseconds": ns } });
    let torn = json!({ "alter": { "torn": [[], null] } });
    let write = "/waiting/0/request/operation/write";
    let hanging = "/waiting/1/reason/hanging";
    for (place, value, expected) in [
        (
            "/version",
            json!(2),
            "its state has version 2, and the program reads 1",
        ),
        (
            "/version",
            json!("removed"),
            "its state is malformed: missing field `version`",
        ),
        (
            "/more",
            json!(1),
            "its state is malformed: unknown field `more`",
        ),
        ("/requests", json!(1u64 << 63), "its state has requests = "),
        (
            "/space/sectors",
            json!(65),
            "its state was saved with sectors 65, and the part has 64",
        ),
        (
            "/waiting/0/ordinal",
            json!(2),
            "its state has ordinal = 2, which",
        ),
        (
            "/waiting/0/ordinal",
            json!(0),
            "its state has ordinal = 0 twice",
        ),
        (
            "/waiting/0/answer/queue",
            json!(1),
            "its state has queue = 1, which",
        ),
        (
            "/waiting/0/answer/head",
            json!(64),
            "its state has head = 64, which",
        ),
        (
            "/waiting/0/answer/head",
            json!(head_of(1)),
            "its state has head = 3 twice",
        ),
        (
            "/waiting/0/answer/status",
            json!(MEMORY),
            "its state has status = ",
        ),
        (
            "/waiting/0/answer/data_length",
            json!(512),
            "its state has data_length = 512, which",
        ),
        (
            "/waiting/1/answer/data_length",
            json!(0),
            "its state has data_length = 0, which",
        ),
        (
            &format!("{write}/offset"),
            json!(1),
            "its state has offset = 1, which",
        ),
        (
            &format!("{write}/offset"),
            json!(i64::MAX - 511),
            "its state has offset = ",
        ),
        (
            &format!("{write}/durability"),
            json!("often"),
            "its state is malformed: unknown variant",
        ),
        (
            "/waiting/0/request/segments",
            segment(100),
            "its state has length = 100, which",
        ),
        (
            "/waiting/0/request/segments",
            segment(0xffff_fe00),
            "its state has length = ",
        ),
        (
            "/waiting/0/request/segments/0/address",
            json!(MEMORY - 511),
            "its state has address = ",
        ),
        (
            "/waiting/0/request/segments",
            json!([segment(512)[0], segment(0)[0]]),
            "its state has address = 0",
        ),
        (
            "/waiting/0/request/segments",
            json!(vec![json!({ "address": 0, "length": 8 }); 65]),
            "its state has segments = 65, which",
        ),
        (
            "/waiting/0/request/operation",
            json!("flush"),
            "its state has length = 512, which",
        ),
        (
            "/waiting/0/request",
            discard(json!([])),
            "its state has ranges = 0, which",
        ),
        (
            "/waiting/0/request",
            discard(json!(vec![range(0, 512); 33])),
            "its state has ranges = 33",
        ),
        (
            "/waiting/0/request",
            discard(json!([range(1, 512)])),
            "its state has offset = 1, which",
        ),
        (
            "/waiting/0/request",
            discard(json!([range(0, 1)])),
            "its state has length = 1, which",
        ),
        (
            &format!("{hanging}/ordinal"),
            json!(9),
            "its state has record = 9, which",
        ),
        (
            &format!("{hanging}/ordinal"),
            json!(0),
            "its state has invalid record: a record has the ordinal 0",
        ),
        (
            &format!("{hanging}/device"),
            json!("disk1"),
            "its state has invalid record: it is of the disk 'disk1'",
        ),
        (
            "/waiting/1/reason",
            delayed(json!("perform"), u64::MAX),
            "its state has nanoseconds = ",
        ),
        (
            "/waiting/1/reason",
            delayed(torn, 1),
            "its state has fate = 0, which",
        ),
        (
            "/faults/state",
            json!(""),
            "its state has invalid faults: 'state' is empty",
        ),
        (
            "/faults/rules/0/hits",
            json!(2),
            "its state has invalid faults: a rule has fired 2 times",
        ),
        (
            "/cache",
            json!({ "changes": [], "last_error": null }),
            "its state was saved with volatile cache on",
        ),
        (
            "/group/schedule/buckets/0/level",
            json!([u64::MAX, 0]),
            "its state has level = ",
        ),
        (
            "/group/schedule/limits/iops_size",
            json!(1),
            "its state is malformed: iops size",
        ),
    ] {
        let bad = changed(&state, place, value);
        let error = machine.disk.restore(&bad, &queues).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{place}: {error}");
        assert_eq!(machine.disk.save().unwrap(), state, "{place}");
    }
    let error = machine.disk.restore(&state, &vec![None]).unwrap_err();
    let expected = RestoreError::OutOfRange {
        member: "queue",
        value: 0,
    };
    assert_eq!(error.to_string(), expected.to_string());
}

#[test]
fn a_read_only_disk_refuses_writes_that_wait_or_are_cached() {
    let (state, queues) = saved(&waiting());
    let read_only = || Setup {
        access: Access::ReadOnly,
        ..Setup::default()
    };
    let expected = "its state was saved with writes on, and the part has off";
    let error = read_only().stopped().disk.restore(&state, &queues);
    assert_eq!(error.unwrap_err().to_string(), expected);
    let mut machine = cached();
    machine.initialize();
    machine.resume();
    machine.ask(0, OUT, 1, 512);
    machine.wait_used(1);
    let (state, queues) = saved(&machine);
    let (medium, control) = fake_backend(64 * 512);
    let cache = VolatileCache::new(Box::new(medium), 1 << 20).unwrap();
    let other = read_only().with_backend(Box::new(cache), control);
    let error = other.disk.restore(&state, &queues).unwrap_err();
    assert_eq!(error.to_string(), expected);
}
