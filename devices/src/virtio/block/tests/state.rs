//! Saving and restoring a disk.

use std::sync::Arc;
use std::sync::mpsc::channel;

use super::super::{Hanging, Release};
use super::driver::*;
use super::fakes::{DEADLINE, Heard};
use crate::block::fault::action::FaultAction;
use crate::block::fault::kinds::Kinds;
use crate::block::fault::rule::{Match, Rule};
use crate::block::model::errno::Errno;
use crate::block::model::request::Operation;
use crate::block::policy::error_policy::IoStatus;
use crate::block::policy::statistics::Kind;
use crate::life_cycle::{RestoreError, State};
use crate::virtio::device::{Activation, VirtioDevice};
use crate::virtio::queue_state::QueueStates;
use crate::virtio::transport::mmio::interrupt::MmioInterrupt;

/// A disk with a held write and a hanging read.
fn waiting() -> Machine {
    let mut machine = Setup::policy("stop", "stop").start();
    machine.disk.change_faults(|engine| {
        let rule = Rule {
            id: "hang".to_owned(),
            matching: Match::all(Kinds::READ),
            action: FaultAction::Hang,
            seed: 1,
        };
        engine.add(rule, Arc::default());
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
    machine.disk.restore(&state).unwrap();
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

#[test]
fn a_state_with_a_request_that_no_driver_can_have_sent_is_refused_and_changes_nothing() {
    let machine = waiting();
    let (state, _) = saved(&machine);
    let text = serde_json::to_string(&state).unwrap();
    let outside = format!("\"address\":{}", MEMORY - 511);
    let segment = format!("\"address\":{}", data_of(3));
    let place = format!("\"status\":{}", status_of(3));
    let no_place = format!("\"status\":{MEMORY}");
    for (good, bad) in [
        (segment.as_str(), outside.as_str()),
        (place.as_str(), no_place.as_str()),
        ("\"queue\":0", "\"queue\":1"),
        ("\"ordinal\":1", "\"ordinal\":2"),
        ("\"offset\":2560", "\"offset\":9223372036854775807"),
    ] {
        assert!(text.contains(good), "{good} is not in {text}");
        let state = serde_json::from_str::<State>(&text.replace(good, bad)).unwrap();
        let error = machine.disk.restore(&state).unwrap_err();
        assert!(
            matches!(error, RestoreError::OutOfRange { .. }),
            "{bad}: {error}"
        );
        assert_eq!(
            machine.disk.save().unwrap(),
            serde_json::from_str(&text).unwrap()
        );
    }
}
