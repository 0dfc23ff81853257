//! What guest and observer see of an error under each policy, in order.

use super::super::{ErrorKind, IoError};
use super::driver::*;
use super::fakes::Heard;
use crate::block::model::errno::Errno;
use crate::block::model::request::Token;
use crate::block::policy::error_policy::{ErrorAction, IoStatus};
use crate::life_cycle::Run;

const EIO: Errno = Errno::EIO;
const ENOSPC: Errno = Errno::ENOSPC;

/// Fails one request and checks every effect until it is complete.
fn completes_with(
    (werror, rerror): (&str, &str),
    (kind, length): (u32, u32),
    errno: Errno,
    (action, status): (ErrorAction, u8),
) {
    let mut machine = Setup::policy(werror, rerror).start();
    let (token, _) = machine.submit(0, kind, 0, length);
    machine.end(token, Err(errno));
    let error = IoError {
        kind: if kind == IN {
            ErrorKind::Read
        } else {
            ErrorKind::Write
        },
        action,
        errno,
    };
    // The observer is notified before the guest.
    let heard = Heard::Error {
        error,
        io_status: IoStatus::Ok,
        used: 0,
    };
    assert_eq!(machine.hear(), heard);
    let written = if kind == IN { length + 1 } else { 1 };
    assert_eq!(machine.wait_used(1), [(0, written)]);
    assert_eq!(machine.status(0), status);
    assert_eq!(machine.disk.io_status(), IoStatus::Ok);
    // The device still works.
    machine.check_alive();
    assert!(machine.heard.try_recv().is_err());
}

/// Fails one request and checks every effect until its retry succeeds.
fn stops_with(
    (werror, rerror): (&str, &str),
    (kind, length): (u32, u32),
    errno: Errno,
    io_status: IoStatus,
) {
    let mut machine = Setup::policy(werror, rerror).start();
    let (token, request) = machine.submit(0, kind, 0, length);
    for run in [Run(1), Run(2)] {
        machine.end(token, Err(errno));
        let Heard::Error {
            error,
            io_status: heard_status,
            used: 0,
        } = machine.hear()
        else {
            panic!("not an error, or the guest knew first");
        };
        assert_eq!((error.action, error.errno), (ErrorAction::Stop, errno));
        assert_eq!(heard_status, io_status);
        assert_eq!(machine.hear(), Heard::Stop { run, used: 0 });
        machine.backend.barrier();
        assert_eq!(machine.used_index(), 0);
        assert_eq!(machine.status(0), UNANSWERED);
        assert_eq!(machine.disk.io_status(), io_status);
        machine.resume();
        assert_eq!(machine.disk.io_status(), IoStatus::Ok);
        let (again, same) = machine.backend.next();
        assert_eq!(again, token);
        assert_eq!(same.operation, request.operation);
        assert_eq!(same.buffers.length(), u64::from(length));
    }
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!(machine.status(0), OK);
}

#[test]
fn a_reported_error_is_the_guests() {
    let report = (ErrorAction::Report, IOERR);
    completes_with(("report", "stop"), (OUT, 512), ENOSPC, report);
    completes_with(("report", "stop"), (FLUSH, 0), EIO, report);
    completes_with(("stop", "report"), (IN, 512), EIO, report);
    // Under `enospc` only ENOSPC stops, and only for writes.
    completes_with(("enospc", "report"), (OUT, 512), EIO, report);
    completes_with(("enospc", "report"), (OUT, 512), Errno::EFBIG, report);
    completes_with(("enospc", "report"), (FLUSH, 0), EIO, report);
    completes_with(("enospc", "report"), (IN, 512), ENOSPC, report);
}

#[test]
fn an_ignored_error_is_known_to_the_observer_alone() {
    let ignore = (ErrorAction::Ignore, OK);
    completes_with(("ignore", "stop"), (OUT, 512), ENOSPC, ignore);
    completes_with(("ignore", "stop"), (FLUSH, 0), EIO, ignore);
    completes_with(("stop", "ignore"), (IN, 512), EIO, ignore);
}

#[test]
fn an_error_that_stops_holds_the_request_until_it_succeeds() {
    stops_with(("stop", "report"), (OUT, 512), EIO, IoStatus::Failed);
    stops_with(("stop", "report"), (OUT, 512), ENOSPC, IoStatus::NoSpace);
    stops_with(("stop", "report"), (FLUSH, 0), EIO, IoStatus::Failed);
    stops_with(("report", "stop"), (IN, 512), EIO, IoStatus::Failed);
    stops_with(("enospc", "report"), (OUT, 512), ENOSPC, IoStatus::NoSpace);
    stops_with(("enospc", "report"), (FLUSH, 0), ENOSPC, IoStatus::NoSpace);
}

#[test]
fn held_requests_are_submitted_again_in_the_order_of_their_arrival() {
    let mut machine = Setup::policy("stop", "stop").start();
    let tokens: Vec<Token> = (0..6u16)
        .map(|slot| machine.submit(slot, IN, u64::from(slot), 512).0)
        .collect();
    // They fail in reverse order, and 2 does not fail.
    for slot in [5usize, 3, 4, 0, 1] {
        machine.end(tokens[slot], Err(EIO));
        machine.hear_stop();
    }
    machine.end(tokens[2], Ok(()));
    machine.wait_used(1);
    machine.queue(6, IN, 6, 512);
    machine.resume();
    let again: Vec<_> = (0..6).map(|_| machine.backend.next()).collect();
    assert_eq!(
        again[..5]
            .iter()
            .map(|(token, _)| *token)
            .collect::<Vec<_>>(),
        [0usize, 1, 3, 4, 5].map(|slot| tokens[slot])
    );
    // A request that arrived meanwhile comes after them.
    assert!(again[5].0 > tokens[5]);
    // Some fail again, and only these are held.
    let ends = [(1, Ok(())), (4, Err(EIO)), (0, Err(EIO)), (3, Ok(()))];
    machine
        .backend
        .end(ends.map(|(slot, end)| (tokens[slot], end)));
    machine.wait_used(2);
    machine.resume();
    let again = [machine.backend.next().0, machine.backend.next().0];
    assert_eq!(again, [tokens[0], tokens[4]]);
    for token in [tokens[0], tokens[4], tokens[5]] {
        machine.end(token, Ok(()));
    }
    machine.wait_used(3);
    assert!((0..6).all(|slot| machine.status(slot) == OK));
    assert_eq!(machine.status(6), UNANSWERED);
}

#[test]
fn after_a_stopping_error_nothing_new_is_submitted_and_requests_in_flight_complete() {
    let mut machine = Setup::policy("stop", "report").start();
    let failing = machine.submit(0, OUT, 0, 512).0;
    let [fine, reported] = [1, 2].map(|slot| machine.submit(slot, IN, 1, 512).0);
    // In one turn: the completions after the error are still answered.
    machine
        .backend
        .end([(failing, Err(EIO)), (fine, Ok(())), (reported, Err(EIO))]);
    machine.hear_stop();
    let (error, _) = machine.hear_error();
    assert_eq!(
        (error.kind, error.action),
        (ErrorKind::Read, ErrorAction::Report)
    );
    assert_eq!(machine.wait_used(2), [(head_of(1), 513), (head_of(2), 513)]);
    machine.ask(3, GET_ID, 0, 20);
    machine.backend.barrier();
    assert_eq!(machine.take_used(), []);
    machine.resume();
    assert_eq!(machine.wait_used(1), [(head_of(3), 21)]);
    assert_eq!(machine.backend.next().0, failing);
}

#[test]
fn the_first_of_several_errors_decides_the_io_status_and_each_asks_for_a_stop() {
    let mut machine = Setup::policy("stop", "report").start();
    let tokens = [0, 1].map(|slot| machine.submit(slot, OUT, 0, 512).0);
    machine
        .backend
        .end([(tokens[1], Err(ENOSPC)), (tokens[0], Err(EIO))]);
    assert_eq!(machine.hear_stop().errno, ENOSPC);
    assert_eq!(machine.hear_stop().errno, EIO);
    assert_eq!(machine.disk.io_status(), IoStatus::NoSpace);
    machine.resume();
    let again = [machine.backend.next().0, machine.backend.next().0];
    assert_eq!(again, tokens);
}

#[test]
fn an_error_after_a_pause_is_held_like_any_other() {
    let mut machine = Setup::policy("stop", "report").start();
    let token = machine.submit(0, OUT, 0, 512).0;
    let drained = machine.pause();
    machine.backend.barrier();
    assert!(drained.try_recv().is_err());
    machine.end(token, Err(EIO));
    machine.hear_stop();
    // A held request is not in flight.
    drained.recv_timeout(super::fakes::DEADLINE).unwrap();
    assert_eq!(machine.disk.io_status(), IoStatus::Failed);
    machine.resume();
    assert_eq!(machine.backend.next().0, token);
}

#[test]
fn an_error_that_cont_overtook_is_retried_and_asks_for_no_stop_of_the_new_run() {
    // The observer blocks the worker inside the error's report, as a slow host would, and `cont`
    // comes in between.
    let mut machine = Setup::policy("stop", "report").start();
    let token = machine.submit(0, OUT, 0, 512).0;
    let observer = machine.observer.clone();
    let gate = observer.close_gate();
    machine.end(token, Err(EIO));
    let (_, io_status) = machine.hear_error();
    assert_eq!(io_status, IoStatus::Failed);
    machine.resume();
    assert_eq!(machine.disk.io_status(), IoStatus::Ok);
    drop(gate);
    let Heard::Stop { run, .. } = machine.hear() else {
        panic!("no stop");
    };
    assert_eq!(run, Run(1));
    assert_eq!(machine.backend.next().0, token);
    machine.end(token, Ok(()));
    machine.wait_used(1);
    assert_eq!(machine.disk.io_status(), IoStatus::Ok);
    assert!(machine.heard.try_recv().is_err());
}

#[test]
fn an_error_of_the_new_run_counts_though_its_request_is_of_the_old_one() {
    let mut machine = Setup::policy("stop", "report").start();
    let token = machine.submit(0, OUT, 0, 512).0;
    machine.pause();
    machine.resume();
    machine.backend.barrier();
    machine.end(token, Err(EIO));
    machine.hear_error();
    assert_eq!(
        machine.hear(),
        Heard::Stop {
            run: Run(2),
            used: 0
        }
    );
    assert_eq!(machine.disk.io_status(), IoStatus::Failed);
}
