//! `query-status`: one at a time, and with hundreds in flight.

use std::time::{Duration, Instant};

use crate::Measured;
use crate::client::{Client, request};
use crate::contenders::Contenders;
use crate::peer::Peer;
use crate::sample::Samples;
use crate::table::{Row, Table};

/// Number of turns, in which the contenders alternate, so that other load affects all of them.
const TURNS: usize = 10;
const WARM_UP: usize = 200;
/// Number of requests in flight.
const WINDOW: usize = 200;

/// Measures round trips of the bare echo.
pub fn echo_round_trip(echo: &mut Client, runs: usize, samples: &mut Samples) -> Measured {
    let request = request("query-status");
    for _ in 0..runs {
        let started = Instant::now();
        echo.send(request.as_bytes())?;
        echo.line()?;
        samples.add(started.elapsed());
    }
    Ok(())
}

/// Measures that many round trips of `query-status`.
pub fn round_trip(client: &mut Client, runs: usize, samples: &mut Samples) -> Measured {
    let request = request("query-status");
    for _ in 0..runs {
        let started = Instant::now();
        client.send(request.as_bytes())?;
        client.answer()?;
        samples.add(started.elapsed());
    }
    Ok(())
}

fn client(peer: Option<&Peer>) -> Measured<Option<(Client, Samples)>> {
    let Some(peer) = peer else { return Ok(None) };
    let mut client = peer.client()?;
    round_trip(&mut client, WARM_UP, &mut Samples::default())?;
    Ok(Some((client, Samples::default())))
}

/// Measures round trips of `query-status` beside those of the echo.
pub fn one_at_a_time(
    contenders: &Contenders,
    runs: usize,
    [median, p99]: [&'static str; 2],
    table: &mut Table,
) -> Measured {
    let (mut echo, mut floor) = (contenders.echo.connect()?, Samples::default());
    echo_round_trip(&mut echo, WARM_UP, &mut Samples::default())?;
    let mut faultvisor = client(contenders.faultvisor.as_ref())?;
    let mut qemu = client(contenders.qemu.as_ref())?;
    for _ in 0..TURNS {
        echo_round_trip(&mut echo, runs / TURNS, &mut floor)?;
        for (client, samples) in faultvisor.iter_mut().chain(&mut qemu) {
            round_trip(client, runs / TURNS, samples)?;
        }
    }
    let mut row = |what, percentile: fn(&mut Samples) -> Option<Duration>, target| {
        let floor = percentile(&mut floor);
        let of = |contender: &mut Option<(Client, Samples)>| {
            contender
                .as_mut()
                .and_then(|(_, samples)| percentile(samples))
        };
        let (faultvisor, qemu) = (of(&mut faultvisor), of(&mut qemu));
        let ratio = faultvisor.zip(floor);
        table.add(Row {
            what,
            faultvisor: faultvisor.map(microseconds),
            qemu: qemu.map(microseconds),
            echo: floor.map(microseconds),
            ratio: ratio.map(|(time, floor)| {
                format!("{:.2} × echo", time.as_secs_f64() / floor.as_secs_f64())
            }),
            target,
        });
    };
    let target = Some("≤ 1.50 × echo".to_owned());
    row(median, Samples::median, target.clone());
    row(p99, Samples::p99, target);
    Ok(())
}

/// Formats a duration for the table.
pub fn microseconds(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}

/// Commands per second, with [`WINDOW`] of them in flight.
fn throughput(peer: Option<&Peer>, windows: usize) -> Measured<Option<f64>> {
    let Some(peer) = peer else { return Ok(None) };
    let mut client = peer.client()?;
    let requests = request("query-status").repeat(WINDOW);
    let mut window = || -> Measured {
        client.send(requests.as_bytes())?;
        for _ in 0..WINDOW {
            client.answer()?;
        }
        Ok(())
    };
    window()?;
    let started = Instant::now();
    for _ in 0..windows {
        window()?;
    }
    let commands = u32::try_from(windows * WINDOW)?;
    Ok(Some(f64::from(commands) / started.elapsed().as_secs_f64()))
}

/// Measures pipelined `query-status`.
pub fn pipelined(contenders: &Contenders, runs: usize, table: &mut Table) -> Measured {
    let faultvisor = throughput(contenders.faultvisor.as_ref(), runs / 10)?;
    // It is much slower, and its rate does not depend on the number of commands.
    let qemu = throughput(contenders.qemu.as_ref(), runs / 200)?;
    let per_second = |rate: f64| format!("{rate:.0}/s");
    table.add(Row {
        what: "query-status between CPUs, 200 in flight",
        faultvisor: faultvisor.map(per_second),
        qemu: qemu.map(per_second),
        ratio: faultvisor
            .zip(qemu)
            .map(|(ours, theirs)| format!("{:.1} × QEMU", ours / theirs)),
        target: Some("≥ 100000/s".to_owned()),
        ..Row::default()
    });
    Ok(())
}
