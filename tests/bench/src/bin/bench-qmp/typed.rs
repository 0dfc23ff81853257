//! The typed client beside one that only splits lines: the cost of types, threads and objects.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use libqmp::{BlockIoErrorEvent, Session};

use crate::client::Client;
use crate::contenders::Contenders;
use crate::cpus::Cpus;
use crate::events::{ACCESSOR, number_and_moment, reason};
use crate::peer::Peer;
use crate::requests::{microseconds, round_trip};
use crate::sample::{Moment, Samples};
use crate::table::{Row, Table};
use crate::{Measured, Options};

/// Number of turns, in which both alternate, so that other load affects both.
const TURNS: usize = 10;
const WARM_UP: usize = 200;
const THREADS: usize = 8;
/// Number of events raised at once; two of these windows fit into a session's output.
const WINDOW: u64 = 5_000;
const EVENTS: u64 = 100_000;
const TARGET: &str = "≤ 1.10 × raw";

/// Runs all measurements.
pub fn beside_raw(options: &Options, cpus: &Cpus, table: &mut Table) -> Measured {
    let contenders = Contenders::start(options, cpus)?;
    if let Some(peer) = &contenders.faultvisor {
        one_at_a_time(peer, options.runs, table)?;
        of_threads(peer, options.runs, table)?;
    }
    single_events(cpus, options.runs, table)?;
    many_events(cpus, table)
}

fn typed_round_trip(session: &Session, runs: usize, samples: &mut Samples) -> Measured {
    for _ in 0..runs {
        let started = Instant::now();
        session.query_status()?;
        samples.add(started.elapsed());
    }
    Ok(())
}

fn one_at_a_time(peer: &Peer, runs: usize, table: &mut Table) -> Measured {
    let (mut client, session) = (peer.client()?, peer.session()?);
    let (mut raw, mut typed) = (Samples::default(), Samples::default());
    round_trip(&mut client, WARM_UP, &mut Samples::default())?;
    typed_round_trip(&session, WARM_UP, &mut Samples::default())?;
    for _ in 0..TURNS {
        round_trip(&mut client, runs / TURNS, &mut raw)?;
        typed_round_trip(&session, runs / TURNS, &mut typed)?;
    }
    let mut row = |what, percentile: fn(&mut Samples) -> Option<Duration>| {
        table.add(times(what, percentile(&mut typed), percentile(&mut raw)));
    };
    row("query-status through libqmp, median", Samples::median);
    row("  99th percentile", Samples::p99);
    Ok(())
}

/// A row of durations, through libqmp and without.
fn times(what: &'static str, typed: Option<Duration>, raw: Option<Duration>) -> Row {
    let both = typed.zip(raw);
    Row {
        what,
        faultvisor: typed.map(microseconds),
        ratio: both.map(|(typed, raw)| {
            let ratio = typed.as_secs_f64() / raw.as_secs_f64();
            format!("{ratio:.2} × raw ({})", microseconds(raw))
        }),
        target: Some(TARGET.to_owned()),
        ..Row::default()
    }
}

/// A row of rates per second, through libqmp and without.
fn rates(what: &'static str, typed: f64, raw: f64, of_raw: &str) -> Row {
    Row {
        what,
        faultvisor: Some(format!("{typed:.0}/s")),
        ratio: Some(format!("{:.2} × raw ({raw:.0}/s{of_raw})", raw / typed)),
        target: Some(TARGET.to_owned()),
        ..Row::default()
    }
}

/// One call in flight per thread: typed calls share a connection, raw ones have one each.
fn of_threads(peer: &Peer, runs: usize, table: &mut Table) -> Measured {
    let each = runs / TURNS / THREADS;
    let session = peer.session()?;
    let mut clients = Vec::new();
    for _ in 0..THREADS {
        clients.push(peer.client()?);
    }
    let (mut typed, mut raw) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..=TURNS {
        let of_typed = typed_from_threads(&session, each)?;
        let of_raw = raw_from_threads(&mut clients, each)?;
        // The first turn warms up.
        if turn > 0 {
            typed += of_typed;
            raw += of_raw;
        }
    }
    let calls = f64::from(u32::try_from(TURNS * THREADS * each)?);
    let rate = |time: Duration| calls / time.as_secs_f64();
    let what = "query-status through libqmp, 8 threads";
    table.add(rates(what, rate(typed), rate(raw), " on 8 connections"));
    Ok(())
}

fn typed_from_threads(session: &Session, each: usize) -> Measured<Duration> {
    let calls = |_| || (0..each).try_for_each(|_| session.query_status().map(drop));
    together((0..THREADS).map(calls))
}

/// Each thread has its own connection: a raw client cannot match answers to threads.
fn raw_from_threads(clients: &mut [Client], each: usize) -> Measured<Duration> {
    together(clients.iter_mut().map(|client| {
        move || {
            let mut nothing = Samples::default();
            let measured = round_trip(client, each, &mut nothing);
            measured.map_err(|error| error.to_string())
        }
    }))
}

/// Times these, each in a thread of its own.
fn together<E: Into<Box<dyn Error>> + Send>(
    work: impl Iterator<Item = impl FnOnce() -> Result<(), E> + Send>,
) -> Measured<Duration> {
    let started = Instant::now();
    let ended: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = work.map(|work| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let time = started.elapsed();
    for result in ended {
        result
            .map_err(|_| "a thread panicked")?
            .map_err(Into::into)?;
    }
    Ok(time)
}

/// The next event's number and latency.
fn next_typed(events: &BlockIoErrorEvent) -> Measured<(u64, Duration)> {
    let event = events.recv()?;
    let now = Moment::now();
    let (number, raised) = number_and_moment(&event.reason)?;
    if event.lost > 0 {
        return Err(format!("{} events were lost before {number}", event.lost).into());
    }
    Ok((number, now.since(raised)))
}

fn next_raw(client: &mut Client) -> Measured<(u64, Duration)> {
    let line = client.line()?;
    let now = Moment::now();
    let (number, raised) = reason(line)?;
    Ok((number, now.since(raised)))
}

fn expect(expected: u64, (number, time): (u64, Duration)) -> Measured<Duration> {
    match number == expected {
        true => Ok(time),
        false => Err(format!("event {number} instead of {expected}").into()),
    }
}

fn single_events(cpus: &Cpus, runs: usize, table: &mut Table) -> Measured {
    // One host each: on a common one, the second to be served would wait for the first.
    let (mut of_raw, mut of_typed) = (Peer::host(cpus)?, Peer::host(cpus)?);
    let (mut client, session) = (of_raw.client()?, of_typed.session()?);
    client.execute(ACCESSOR)?;
    let events = session.get_block_io_error_event()?;
    let (mut raw, mut typed) = (Samples::default(), Samples::default());
    let warm_up = u64::try_from(WARM_UP)?;
    for number in 0..warm_up + u64::try_from(runs)? {
        of_raw.raise(1, number)?;
        let time_of_raw = expect(number, next_raw(&mut client)?)?;
        of_typed.raise(1, number)?;
        let time_of_typed = expect(number, next_typed(&events)?)?;
        if number >= warm_up {
            raw.add(time_of_raw);
            typed.add(time_of_typed);
        }
    }
    let what = "event through an object, median";
    table.add(times(what, typed.median(), raw.median()));
    table.add(times("  99th percentile", typed.p99(), raw.p99()));
    Ok(())
}

/// Measures the rate at which a continuous stream of events is read.
fn many_events(cpus: &Cpus, table: &mut Table) -> Measured {
    let (mut of_raw, mut of_typed) = (Peer::host(cpus)?, Peer::host(cpus)?);
    let (mut client, session) = (of_raw.client()?, of_typed.session()?);
    client.execute(ACCESSOR)?;
    let events = session.get_block_io_error_event()?;
    let (mut raw, mut typed) = (Duration::ZERO, Duration::ZERO);
    for first in (0..EVENTS).step_by(usize::try_from(WINDOW)?) {
        raw += window(&mut of_raw, first, || next_raw(&mut client))?;
        typed += window(&mut of_typed, first, || next_typed(&events))?;
    }
    let count = f64::from(u32::try_from(EVENTS)?);
    let what = "events through an object, 5,000 at once";
    let rate = |time: Duration| count / time.as_secs_f64();
    table.add(rates(what, rate(typed), rate(raw), ""));
    Ok(())
}

fn window(
    host: &mut Peer,
    first: u64,
    mut next: impl FnMut() -> Measured<(u64, Duration)>,
) -> Measured<Duration> {
    let started = Instant::now();
    host.raise(WINDOW, first)?;
    for expected in first..first + WINDOW {
        expect(expected, next()?)?;
    }
    Ok(started.elapsed())
}
