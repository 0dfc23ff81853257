//! Requests that rules apply to, and events while they are parked.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::super::{Hanging, Release};
use super::driver::*;
use super::fakes::{DEADLINE, Heard};
use crate::block::fault::action::FaultAction;
use crate::block::fault::draw::Delay;
use crate::block::fault::engine::Counts;
use crate::block::fault::kinds::Kinds;
use crate::block::fault::record::Record;
use crate::block::fault::rule::{Match, Rule};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Operation, Token};

fn rule(kinds: Kinds, action: FaultAction) -> Rule {
    Rule {
        id: "rule".to_owned(),
        matching: Match::all(kinds),
        action,
        seed: 1,
    }
}

fn once(kinds: Kinds, skip: u64, action: FaultAction) -> Rule {
    let mut rule = rule(kinds, action);
    rule.matching.skip = skip;
    rule.matching.count = 1;
    rule
}

const EIO: FaultAction = FaultAction::Error {
    errno: Errno::EIO,
    after: false,
};

impl Machine {
    fn add_fault(&self, rule: Rule) -> Arc<Counts> {
        let counts = Arc::new(Counts::default());
        let of_engine = Arc::clone(&counts);
        let (added, is_added) = channel();
        self.disk.change_faults(move |engine| {
            engine.add(rule, form(), of_engine);
            added.send(()).unwrap();
        });
        is_added.recv_timeout(DEADLINE).unwrap();
        counts
    }

    fn release(&self, which: Hanging, how: Release) -> u64 {
        let (done, is_done) = channel();
        self.disk
            .release(which, how, move |count| done.send(count).unwrap());
        is_done.recv_timeout(DEADLINE).unwrap()
    }

    fn hear_fault(&self) -> Record {
        match self.hear() {
            Heard::Fault(record) => record,
            other => panic!("no fault but {other:?}"),
        }
    }

    /// Waits until this many requests hang.
    fn wait_hanging(&self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.hear_fault().decision.action().name(), "hang");
        }
        self.backend.barrier();
        assert_eq!(self.disk.faults().hanging.len(), count);
    }

    /// Waits for the sectors of the next writes that reach the backend.
    fn written(&self, count: usize) -> Vec<(Token, u64)> {
        let written = |_| match self.backend.next() {
            (token, request) if matches!(request.operation, Operation::Write { .. }) => {
                (token, request.operation.sector())
            }
            other => panic!("{other:?}"),
        };
        (0..count).map(written).collect()
    }

    fn nothing_arrives(&self) {
        self.backend.barrier();
        assert!(self.backend.arrived().is_empty());
    }
}

fn is_drained(drained: &Receiver<()>) {
    drained.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn an_injected_error_takes_the_way_of_a_real_one() {
    let mut machine = Setup::policy("stop", "report").start();
    let counts = machine.add_fault(once(Kinds::WRITE, 1, EIO));
    let token = machine.submit(0, OUT, 4, 512).0;
    machine.end(token, Ok(()));
    machine.wait_used(1);
    machine.ask(1, OUT, 5, 512);
    let record = machine.hear_fault();
    assert_eq!((record.ordinal, record.attempt, record.sector), (2, 0, 5));
    assert_eq!(machine.hear_stop().errno, Errno::EIO);
    machine.nothing_arrives();
    assert_eq!(machine.status(1), UNANSWERED);
    // The rule has fired: this time the request is performed.
    machine.resume();
    let [(token, 5)] = machine.written(1)[..] else {
        panic!("another write")
    };
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!(
        (machine.status(1), counts.matches(), counts.hits()),
        (OK, 3, 1)
    );
}

#[test]
fn a_resubmitted_request_is_another_attempt() {
    let mut machine = Setup::policy("stop", "report").start();
    machine.add_fault(rule(Kinds::WRITE, EIO));
    machine.ask(0, OUT, 4, 512);
    for attempt in 0..3 {
        let record = machine.hear_fault();
        assert_eq!((record.ordinal, record.attempt), (1, attempt));
        machine.hear_stop();
        machine.resume();
    }
}

#[test]
fn others_overtake_a_request_that_is_delayed() {
    let mut machine = Setup::default().start();
    let wait = Duration::from_millis(50);
    let delay = FaultAction::Delay(Delay::Fixed(50_000));
    machine.add_fault(once(Kinds::WRITE, 0, delay));
    let start = Instant::now();
    machine.queue(0, OUT, 1, 512);
    machine.queue(1, OUT, 2, 512);
    machine.kick();
    let sectors: Vec<_> = machine.written(2).iter().map(|write| write.1).collect();
    assert_eq!(sectors, [2, 1]);
    assert!(start.elapsed() >= wait, "{:?}", start.elapsed());
}

#[test]
fn a_stop_does_not_wait_for_hanging_requests_and_resubmits_nothing() {
    let mut machine = Setup::default().start();
    machine.add_fault(once(Kinds::WRITE, 0, FaultAction::Hang));
    machine.add_fault(once(Kinds::WRITE, 0, FaultAction::Delay(Delay::Fixed(1))));
    machine.queue(0, OUT, 1, 512);
    machine.queue(1, OUT, 2, 512);
    let drained = machine.pause();
    is_drained(&drained);
    machine.kick();
    machine.nothing_arrives();
    machine.resume();
    machine.hear_fault();
    machine.hear_fault();
    assert_eq!(machine.written(1)[0].1, 2);
    is_drained_after(&machine);
    assert_eq!(machine.release(Hanging::default(), Release::Perform), 1);
    assert_eq!(machine.disk.faults().hanging, []);
    machine.nothing_arrives();
    machine.resume();
    assert_eq!(machine.written(1)[0].1, 1);
}

/// Stops the machine, whose one request in flight ends.
fn is_drained_after(machine: &Machine) {
    let drained = machine.pause();
    machine.backend.barrier();
    assert!(drained.try_recv().is_err());
    machine.end(Token(1), Ok(()));
    is_drained(&drained);
}

#[test]
fn a_release_decides_how_hanging_requests_end() {
    let mut machine = Setup::default().start();
    machine.add_fault(rule(Kinds::WRITE, FaultAction::Hang));
    for slot in 0..5 {
        machine.queue(slot, OUT, slot.into(), 512);
    }
    machine.kick();
    machine.wait_hanging(5);
    let of = |id: Option<&str>, ordinal| Hanging {
        id: id.map(str::to_owned),
        ordinal,
    };
    assert_eq!(machine.release(of(None, Some(9)), Release::Complete), 0);
    assert_eq!(
        machine.release(of(Some("other"), None), Release::Complete),
        0
    );
    assert_eq!(machine.release(of(None, Some(2)), Release::Complete), 1);
    assert_eq!(machine.wait_used(1), [(head_of(1), 1)]);
    assert_eq!(machine.status(1), OK);
    assert_eq!(
        machine.release(of(Some("rule"), Some(3)), Release::Fail(Errno::EIO)),
        1
    );
    machine.wait_used(1);
    assert_eq!(machine.status(2), IOERR);
    machine.nothing_arrives();
    assert_eq!(machine.release(Hanging::default(), Release::Perform), 3);
    let written = machine.written(3);
    let sectors: Vec<_> = written.iter().map(|write| write.1).collect();
    assert_eq!(sectors, [0, 3, 4]);
    machine
        .backend
        .end(written.iter().map(|write| (write.0, Ok(()))));
    machine.wait_used(3);
}

#[test]
fn a_reset_does_not_wait_for_what_hangs_and_drops_it() {
    let mut machine = Setup::default().start();
    machine.add_fault(rule(Kinds::WRITE, FaultAction::Hang));
    machine.ask(0, OUT, 1, 512);
    machine.wait_hanging(1);
    machine.reset();
    assert_eq!(machine.disk.faults().hanging, []);
    machine
        .disk
        .change_faults(crate::block::fault::engine::Engine::clear);
    assert_eq!(machine.release(Hanging::default(), Release::Perform), 0);
    machine.clear_rings();
    machine.initialize();
    machine.check_alive();
    machine.nothing_arrives();
}

#[test]
fn a_request_that_hangs_while_its_place_goes_away_fails() {
    let mut machine = Setup::default().start();
    machine.add_fault(rule(Kinds::WRITE, FaultAction::Hang));
    machine.ask(0, OUT, 40, 512);
    machine.wait_hanging(1);
    let (done, is_done) = channel();
    machine
        .disk
        .resize(32 * 512, Box::new(move |result| done.send(result).unwrap()));
    assert_eq!(is_done.recv_timeout(DEADLINE), Ok(Ok(())));
    machine.release(Hanging::default(), Release::Perform);
    machine.wait_used(1);
    assert_eq!(machine.status(0), IOERR);
    machine.nothing_arrives();
}

#[test]
fn a_stop_comes_before_the_request_and_before_all_that_come_after_it() {
    let mut machine = Setup::default().start();
    machine.add_fault(once(Kinds::WRITE, 1, FaultAction::Stop));
    for slot in 0..4 {
        machine.queue(slot, OUT, slot.into(), 512);
    }
    machine.kick();
    let first = machine.written(1);
    assert_eq!(first[0].1, 0);
    assert_eq!(machine.hear_fault().ordinal, 2);
    assert_eq!(machine.hear(), Heard::Breakpoint(machine.run));
    machine.nothing_arrives();
    is_drained_of(&machine, first[0].0);
    machine.resume();
    let rest = machine.written(3);
    let sectors: Vec<_> = rest.iter().map(|write| write.1).collect();
    assert_eq!(sectors, [1, 2, 3]);
    machine
        .backend
        .end(rest.iter().map(|write| (write.0, Ok(()))));
    machine.wait_used(4);
}

fn is_drained_of(machine: &Machine, token: Token) {
    machine.end(token, Ok(()));
    is_drained(&machine.pause());
}

#[test]
fn resubmission_pauses_when_an_earlier_request_stops_the_machine() {
    let mut machine = Setup::policy("stop", "stop").start();
    machine.add_fault(once(Kinds::WRITE, 3, FaultAction::Stop));
    for slot in 0..3 {
        machine.queue(slot, OUT, slot.into(), 512);
    }
    machine.kick();
    let written = machine.written(3);
    let failed = |write: &(Token, u64)| (write.0, Err(Errno::EIO));
    machine.backend.end(written.iter().map(failed));
    for _ in 0..3 {
        machine.hear_stop();
    }
    // The first of them is the rule's fourth match.
    machine.resume();
    machine.hear_fault();
    assert_eq!(machine.hear(), Heard::Breakpoint(machine.run));
    machine.nothing_arrives();
    machine.resume();
    let sectors: Vec<_> = machine.written(3).iter().map(|write| write.1).collect();
    assert_eq!(sectors, [0, 1, 2]);
}

#[test]
fn a_dropped_request_is_done_and_no_write() {
    let mut machine = Setup::default().start();
    machine.add_fault(rule(Kinds::WRITE.with(Kinds::FLUSH), FaultAction::Drop));
    machine.queue(0, OUT, 1, 512);
    machine.queue(1, FLUSH, 0, 0);
    machine.kick();
    machine.wait_used(2);
    assert_eq!((machine.status(0), machine.status(1)), (OK, OK));
    machine.nothing_arrives();
}
