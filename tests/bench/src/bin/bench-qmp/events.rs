//! Event latency from the device to the client, on one connection and on ten thousand.

use std::time::{Duration, Instant};

use crate::Measured;
use crate::client::{Client, request};
use crate::cpus::Cpus;
use crate::peer::Peer;
use crate::requests::{echo_round_trip, microseconds};
use crate::sample::{Moment, Samples};
use crate::table::{Row, Table};

/// The accessor of the host's signal.
pub const ACCESSOR: &str = "get-block-io-error-event";
const WARM_UP: u64 = 200;
const CONNECTIONS: usize = 10_000;
/// Number of accessors in flight.
const WINDOW: usize = 200;
/// The allowed cost of an event beyond one way of the echo.
const OVERHEAD: Duration = Duration::from_micros(20);

/// An event's number and moment, from the reason in its line.
pub fn reason(line: &[u8]) -> Measured<(u64, Moment)> {
    const MEMBER: &str = "\"reason\": \"";
    let text = std::str::from_utf8(line)?;
    let found = || -> Option<&str> {
        let reason = &text[text.find(MEMBER)? + MEMBER.len()..];
        Some(&reason[..reason.find('"')?])
    };
    let reason = found().ok_or_else(|| format!("no event of the host: {text}"))?;
    number_and_moment(reason)
}

/// An event's number and moment, from its reason.
pub fn number_and_moment(reason: &str) -> Measured<(u64, Moment)> {
    let parts = reason.split_once(' ');
    let (number, moment) = parts.ok_or_else(|| format!("no reason of the host's: {reason}"))?;
    Ok((number.parse()?, moment.parse()?))
}

/// Reads the event with that number, and returns its latency.
fn next_event(client: &mut Client, expected: u64) -> Measured<Duration> {
    let line = client.line()?;
    let now = Moment::now();
    let (number, raised) = reason(line)?;
    if number != expected {
        return Err(format!("event {number} instead of {expected}").into());
    }
    Ok(now.since(raised))
}

/// Measures the latency of single events beside one way of the echo.
pub fn latency(cpus: &Cpus, runs: usize, table: &mut Table) -> Measured {
    let mut host = Peer::host(cpus)?;
    let mut client = host.client()?;
    client.execute(ACCESSOR)?;
    let echo = Peer::echo(cpus)?;
    let (mut echo, mut floor) = (echo.connect()?, Samples::default());
    let mut events = Samples::default();
    let runs = u64::try_from(runs)?;
    for number in 0..WARM_UP + runs {
        host.raise(1, number)?;
        let event = next_event(&mut client, number)?;
        let mut of_echo = Samples::default();
        echo_round_trip(&mut echo, 1, &mut of_echo)?;
        if number >= WARM_UP {
            events.add(event);
            of_echo
                .median()
                .into_iter()
                .for_each(|trip| floor.add(trip / 2));
        }
    }
    let mut row = |what, percentile: fn(&mut Samples) -> Option<Duration>, has_target: bool| {
        let (event, one_way) = (percentile(&mut events), percentile(&mut floor));
        let both = event.zip(one_way);
        table.add(Row {
            what,
            faultvisor: event.map(microseconds),
            echo: one_way.map(microseconds),
            ratio: both.map(|(event, one_way)| {
                format!(
                    "{:.2} × one way",
                    event.as_secs_f64() / one_way.as_secs_f64()
                )
            }),
            target: one_way
                .filter(|_| has_target)
                .map(|one_way| format!("≤ {}", microseconds(one_way * 3 / 2 + OVERHEAD))),
            ..Row::default()
        });
    };
    row("event, raise to read, median", Samples::median, true);
    row("  99th percentile", Samples::p99, false);
    Ok(())
}

/// Measures one session with ten thousand connections to one signal.
pub fn on_many_connections(cpus: &Cpus, table: &mut Table) -> Measured {
    let mut host = Peer::host(cpus)?;
    let mut client = host.client()?;
    let accessors = request(ACCESSOR).repeat(WINDOW);
    let started = Instant::now();
    for _ in 0..CONNECTIONS / WINDOW {
        client.send(accessors.as_bytes())?;
        for _ in 0..WINDOW {
            client.answer()?;
        }
    }
    let connecting = started.elapsed();
    let mut last = Samples::default();
    let mut bytes = 0;
    for number in 0..10 {
        host.raise(1, number)?;
        bytes = 0;
        let mut latest = Duration::ZERO;
        for _ in 0..CONNECTIONS {
            latest = next_event(&mut client, number)?;
            bytes += client.line_length();
        }
        last.add(latest);
    }
    let milliseconds = |duration: Duration| format!("{:.1} ms", duration.as_secs_f64() * 1e3);
    table.add(Row {
        what: "10,000 connections in one session, to make",
        faultvisor: Some(milliseconds(connecting)),
        ..Row::default()
    });
    table.add(Row {
        what: "  one event on all of them, median",
        faultvisor: last.median().map(milliseconds),
        ..Row::default()
    });
    table.add(Row {
        what: "  what it has to send",
        faultvisor: Some(format!("{} KiB", bytes / 1024)),
        ..Row::default()
    });
    Ok(())
}
