//! Many sessions at once: whether each receives every event, and the cost of an idle one.

use std::time::Instant;

use crate::Measured;
use crate::client::Client;
use crate::cpus::Cpus;
use crate::events::reason;
use crate::peer::Peer;
use crate::table::{Row, Table};

const SESSIONS: usize = 64;
const EVENTS: u64 = 100_000;
/// Number of events raised at once. Two windows in flight fit into a session's output and the monitor's queue.
const WINDOW: u64 = 500;
const IDLE_SESSIONS: u32 = 60;

/// Sends every event to every session, and checks that each receives all of them in order.
pub fn hear_everything(cpus: &Cpus, table: &mut Table) -> Measured {
    let mut host = Peer::host(cpus)?;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut client = host.client()?;
        client.execute("get-block-io-error-event")?;
        clients.push(client);
    }
    let started = Instant::now();
    let mut bytes = 0;
    host.raise(WINDOW, 0)?;
    for first in (0..EVENTS).step_by(usize::try_from(WINDOW)?) {
        // One more window is in flight while this one is read.
        if first + WINDOW < EVENTS {
            host.raise(WINDOW, first + WINDOW)?;
        }
        for client in &mut clients {
            bytes += hear(client, first)?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let deliveries = f64::from(u32::try_from(SESSIONS)?) * f64::from(u32::try_from(EVENTS)?);
    let mebibytes = f64::from(u32::try_from(bytes >> 10)?) / 1024.0;
    table.add(Row {
        what: "64 sessions, 100,000 events each, delivered",
        faultvisor: Some(format!("{:.0}/s", deliveries / seconds)),
        ..Row::default()
    });
    table.add(Row {
        what: "  sent",
        faultvisor: Some(format!("{:.0} MiB/s", mebibytes / seconds)),
        ..Row::default()
    });
    table.add(Row {
        what: "  lost or out of order",
        faultvisor: Some("0".to_owned()),
        target: Some("0".to_owned()),
        ..Row::default()
    });
    Ok(())
}

/// Reads a window of events numbered from `first` on, and fails at the first gap. Returns their length in bytes.
fn hear(client: &mut Client, first: u64) -> Measured<u64> {
    let mut bytes = 0;
    for expected in first..first + WINDOW {
        let (number, _) = reason(client.line()?)?;
        if number != expected {
            return Err(format!("event {number} instead of {expected}").into());
        }
        bytes += client.line_length();
    }
    Ok(bytes)
}

/// Measures resident memory per idle session, after negotiation.
pub fn idle(cpus: &Cpus, table: &mut Table) -> Measured {
    let host = Peer::host(cpus)?;
    // The first session makes the program itself resident.
    drop(host.client()?);
    let first = host.client()?;
    let before = host.resident_kib()?;
    let mut clients = vec![first];
    for _ in 0..IDLE_SESSIONS {
        clients.push(host.client()?);
    }
    let grown = host.resident_kib()?.saturating_sub(before);
    let each = f64::from(u32::try_from(grown)?) / f64::from(IDLE_SESSIONS);
    table.add(Row {
        what: "resident memory of an idle session",
        faultvisor: Some(format!("{each:.1} KiB")),
        target: Some("≤ 64 KiB".to_owned()),
        ..Row::default()
    });
    Ok(())
}
