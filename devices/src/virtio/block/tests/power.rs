//! Power cuts with requests in flight, with waiting requests, and with changes of run state
//! meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::super::PowerCutReport;
use super::driver::*;
use super::fakes::{DEADLINE, Heard};
use crate::block::fault::action::FaultAction;
use crate::block::fault::engine::Counts;
use crate::block::fault::kinds::Kinds;
use crate::block::fault::rule::{Match, Rule};
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Loss, PowerCut, Survival, Then};
use crate::virtio::device::VirtioDevice;

const CUT: PowerCut = PowerCut {
    survival: Survival::Random,
    seed: 7,
    tear_bytes: 512,
};

impl Machine {
    fn cut_power(&self) -> Receiver<()> {
        let (done, is_done) = channel();
        self.disk.power_cut(
            CUT,
            Box::new(move || {
                let _ = done.send(());
            }),
        );
        // Later requests come after it.
        self.backend.barrier();
        is_done
    }

    /// Adds a rule that cuts the power at the write after this many.
    fn cut_power_after(&self, writes: u64) {
        let mut matching = Match::all(Kinds::WRITE);
        matching.skip = writes;
        matching.count = 1;
        let action = FaultAction::PowerCut {
            survival: Survival::None,
            tear_bytes: 1,
            then: Then::Stop,
        };
        let rule = Rule {
            id: "cut".to_owned(),
            matching,
            action,
            seed: 3,
        };
        self.disk
            .change_faults(move |engine| engine.add(rule, form(), Arc::new(Counts::default())));
        self.backend.barrier();
    }

    fn hear_power_cut(&self) -> PowerCutReport {
        match self.hear() {
            Heard::PowerCut(report) => report,
            other => panic!("no power cut but {other:?}"),
        }
    }
}

#[test]
fn a_power_cut_waits_for_what_is_in_flight_and_nobody_hears_how_that_ends() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, OUT, 1, 512).0;
    let is_done = machine.cut_power();
    machine.ask(1, OUT, 2, 512);
    machine.backend.barrier();
    assert!(machine.heard.try_recv().is_err());
    machine.end(token, Ok(()));
    let report = PowerCutReport {
        cut: CUT,
        result: Ok(Loss::default()),
        then: None,
    };
    assert_eq!(machine.hear_power_cut(), report);
    is_done.recv_timeout(DEADLINE).unwrap();
    machine.backend.barrier();
    assert_eq!((machine.used_index(), machine.status(0)), (0, UNANSWERED));
    // The driver continues: the interrupted request has failed, the later one is done.
    machine.resume();
    assert_eq!(machine.hear_error().0.errno, Errno::EIO);
    assert_eq!(machine.wait_used(1), [(head_of(0), 1)]);
    assert_eq!(machine.status(0), IOERR);
    let token = machine.backend.next().0;
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!(machine.status(1), OK);
}

#[test]
fn a_rule_cuts_the_power_before_its_request_and_all_that_come_after_it() {
    let mut machine = Setup::default().start();
    machine.cut_power_after(1);
    for slot in 0..4 {
        machine.queue(slot, OUT, slot.into(), 512);
    }
    machine.kick();
    let (token, request) = machine.backend.next();
    assert_eq!(request.operation.sector(), 0);
    assert!(matches!(machine.hear(), Heard::Fault(record) if record.ordinal == 2));
    machine.end(token, Ok(()));
    let report = machine.hear_power_cut();
    assert_eq!((report.then, report.cut.seed), (Some(Then::Stop), 3));
    assert_eq!(report.cut.survival, Survival::None);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.reset();
    machine.clear_rings();
    machine.initialize();
    machine.resume();
    machine.check_alive();
}

#[test]
fn a_resume_during_a_power_cut_takes_effect_after_it() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, OUT, 1, 512).0;
    let is_done = machine.cut_power();
    let again = machine.cut_power();
    machine.resume();
    machine.ask(1, OUT, 2, 512);
    machine.backend.barrier();
    assert!(machine.backend.arrived().is_empty());
    machine.end(token, Ok(()));
    machine.hear_power_cut();
    is_done.recv_timeout(DEADLINE).unwrap();
    again.recv_timeout(DEADLINE).unwrap();
    assert_eq!(machine.backend.next().1.operation.sector(), 2);
    machine.wait_used(1);
    assert_eq!(machine.status(0), IOERR);
}

#[test]
fn a_reset_and_the_end_wait_for_the_power() {
    let mut machine = Setup::default().start();
    let token = machine.submit(0, OUT, 1, 512).0;
    let is_done = machine.cut_power();
    let (reset, is_reset) = channel();
    machine
        .disk
        .reset(Box::new(move || reset.send(()).unwrap()));
    machine.backend.barrier();
    assert!(is_reset.try_recv().is_err());
    machine.end(token, Ok(()));
    machine.hear_power_cut();
    is_done.recv_timeout(DEADLINE).unwrap();
    is_reset.recv_timeout(DEADLINE).unwrap();
    let is_done = machine.cut_power();
    machine.disk.close(Box::new(|| ()));
    is_done.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_power_cut_performs_or_loses_parked_requests_by_the_seed() {
    let delayed = |seed: u64| {
        let mut machine = Setup::default().start();
        let rule = Rule {
            id: "hang".to_owned(),
            matching: Match::all(Kinds::ALL),
            action: FaultAction::Hang,
            seed: 1,
        };
        machine
            .disk
            .change_faults(move |engine| engine.add(rule, form(), Arc::new(Counts::default())));
        machine.backend.barrier();
        machine.backend.end_at_once(Ok(()));
        for slot in 0..10 {
            machine.queue(slot, OUT, slot.into(), 512);
        }
        machine.queue(10, FLUSH, 0, 0);
        machine.queue(11, IN, 0, 512);
        machine.kick();
        for _ in 0..12 {
            assert!(matches!(machine.hear(), Heard::Fault(_)));
        }
        let cut = PowerCut { seed, ..CUT };
        machine.disk.power_cut(cut, Box::new(|| ()));
        machine.hear_power_cut();
        let arrived = machine.backend.arrived();
        let sectors: Vec<_> = arrived
            .iter()
            .map(|(_, request)| request.operation.sector())
            .collect();
        assert_eq!((machine.used_index(), arrived.len()), (0, sectors.len()));
        sectors
    };
    let done = delayed(1);
    assert!((1..10).contains(&done.len()), "{done:?}");
    assert!(done.is_sorted());
    assert_eq!(delayed(1), done);
    assert_ne!(delayed(2), done);
}
