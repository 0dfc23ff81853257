//! Flow control, in both directions.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use super::driver::{Machine, Stream, rest};
use crate::virtio::vsock::packet::operation;

fn text(length: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(length).collect()
}

/// Sends and receives as a guest that holds what it gets for a moment, until `total` bytes have come and `text` is sent.
fn pump(machine: &mut Machine, stream: &mut Stream, text: &[u8], total: usize) -> Vec<u8> {
    let mut received = Vec::new();
    let (mut rest, mut credit, mut forwarded) = (text, 256u32 << 10, 0u32);
    let mut unforwarded = 0;
    while received.len() < total || !rest.is_empty() {
        let in_flight = stream.sent.wrapping_sub(forwarded);
        let count = (credit.saturating_sub(in_flight) as usize)
            .min(rest.len())
            .min(50_000);
        if count > 0 && machine.untaken() < 8 {
            let (now, later) = rest.split_at(count);
            stream.send_data(machine, now);
            rest = later;
        }
        let Some(packet) = machine.try_receive() else {
            thread::yield_now();
            continue;
        };
        (credit, forwarded) = (packet.header.buffer.get(), packet.header.forwarded.get());
        match packet.operation() {
            operation::DATA => {
                received.extend(&packet.payload);
                unforwarded += u32::try_from(packet.payload.len()).unwrap();
                assert!(unforwarded <= machine.buffer, "more than the guest holds");
                if unforwarded > machine.buffer / 2 {
                    stream.forwarded = stream.forwarded.wrapping_add(unforwarded);
                    unforwarded = 0;
                    stream.send(machine, operation::CREDIT_UPDATE);
                }
            }
            operation::CREDIT_REQUEST => {
                stream.forwarded = stream.forwarded.wrapping_add(unforwarded);
                unforwarded = 0;
                stream.send(machine, operation::CREDIT_UPDATE);
            }
            operation::CREDIT_UPDATE => {}
            other => panic!("operation {other}"),
        }
    }
    received
}

#[test]
fn mebibytes_in_both_directions_at_once_compare_equal() {
    for buffer in [10_000, 256 << 10] {
        let mut machine = Machine::start();
        machine.buffer = buffer;
        let (client, mut stream) = machine.host_connects(1);
        let (to_guest, to_host) = (text(3 << 20), text(4_000_001));
        let writing = {
            let (mut client, to_guest) = (client.try_clone().unwrap(), to_guest.clone());
            thread::spawn(move || client.write_all(&to_guest).unwrap())
        };
        let reading = {
            let mut bytes = vec![0; to_host.len()];
            let mut client = client.try_clone().unwrap();
            thread::spawn(move || {
                client.read_exact(&mut bytes).unwrap();
                bytes
            })
        };
        let received = pump(&mut machine, &mut stream, &to_host, to_guest.len());
        writing.join().unwrap();
        assert!(received == to_guest);
        assert!(reading.join().unwrap() == to_host);
        let statistics = machine.statistics();
        assert_eq!(statistics.bytes_to_guest, to_guest.len() as u64);
        assert_eq!(statistics.bytes_from_guest, to_host.len() as u64);
    }
}

#[test]
fn no_more_is_sent_than_the_guest_holds_and_it_is_asked_once_for_more() {
    let mut machine = Machine::start();
    machine.buffer = 5000;
    let (mut client, mut stream) = machine.host_connects(1);
    client.write_all(&text(12_000)).unwrap();
    let mut received = Vec::new();
    while received.len() < 5000 {
        received.extend(machine.expect(operation::DATA).payload);
    }
    assert_eq!(received.len(), 5000);
    machine.expect(operation::CREDIT_REQUEST);
    machine.expect_nothing();
    // An answer without room brings nothing, and no other request before there was some.
    stream.send(&mut machine, operation::CREDIT_UPDATE);
    machine.expect_nothing();
    stream.forwarded = 5000;
    stream.send(&mut machine, operation::CREDIT_UPDATE);
    while received.len() < 10_000 {
        received.extend(machine.expect(operation::DATA).payload);
    }
    machine.expect(operation::CREDIT_REQUEST);
    stream.forwarded = 10_000;
    stream.send(&mut machine, operation::CREDIT_UPDATE);
    received.extend(machine.expect(operation::DATA).payload);
    assert!(received == text(12_000));
    machine.expect_nothing();
}

#[test]
fn a_guest_that_asks_for_credit_is_answered_with_it() {
    let mut machine = Machine::start();
    let (mut client, mut stream) = machine.host_connects(1);
    stream.send_data(&mut machine, &text(1000));
    client.read_exact(&mut [0; 1000]).unwrap();
    stream.send(&mut machine, operation::CREDIT_REQUEST);
    let update = machine.expect(operation::CREDIT_UPDATE).header;
    assert_eq!(
        (update.buffer.get(), update.forwarded.get()),
        (256 << 10, 1000)
    );
}

/// Sends data until the device holds some of it, because the client takes none. Returns what was sent.
fn fill(machine: &mut Machine, stream: &mut Stream) -> usize {
    let mut sent = 0;
    loop {
        stream.send(machine, operation::CREDIT_REQUEST);
        let update = loop {
            let packet = machine.receive();
            if packet.operation() == operation::CREDIT_UPDATE {
                break packet.header;
            }
        };
        let in_flight = stream.sent.wrapping_sub(update.forwarded.get());
        let free = update.buffer.get() - in_flight;
        if free == 0 {
            return sent;
        }
        let count = free.min(32 << 10) as usize;
        stream.send_data(machine, &text(sent + count)[sent..]);
        sent += count;
        machine.wait(|machine| machine.untaken() == 0);
    }
}

#[test]
fn a_client_that_does_not_read_stops_its_own_stream_and_no_other() {
    let mut machine = Machine::start();
    let (slow, mut stuck) = machine.host_connects(1);
    let (mut client, mut stream) = machine.host_connects(2);
    let sent = fill(&mut machine, &mut stuck);
    assert!(sent >= 256 << 10, "{sent}");
    stream.send_data(&mut machine, &text(1000));
    let mut bytes = vec![0; 1000];
    client.read_exact(&mut bytes).unwrap();
    assert!(bytes == text(1000));
    client.write_all(b"still there").unwrap();
    assert_eq!(machine.expect(operation::DATA).payload, b"still there");
    // Everything comes when it reads, and the guest learns of the room.
    let mut bytes = vec![0; sent];
    read(&slow, &mut bytes);
    assert!(bytes == text(sent));
    let update = machine.expect(operation::CREDIT_UPDATE).header;
    assert_eq!(update.forwarded.get() as usize % 8, sent % 8);
}

fn read(mut client: &UnixStream, bytes: &mut [u8]) {
    client.read_exact(bytes).unwrap();
}

#[test]
fn a_guest_that_does_not_take_its_packets_stops_nothing_else() {
    let mut machine = Machine::start();
    machine.recycles = false;
    let (mut client, mut stream) = machine.host_connects(1);
    client.write_all(&text(1 << 18)).unwrap();
    // All its buffers are used, but for those of the request.
    machine.wait(|machine| machine.statistics().bytes_to_guest >= 60 * 4000);
    stream.send_data(&mut machine, b"the other way");
    let mut bytes = [0; 13];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"the other way");
}

#[test]
fn more_than_the_device_holds_resets_the_connection_on_both_sides() {
    let mut machine = Machine::start();
    let (client, mut stuck) = machine.host_connects(1);
    let sent = fill(&mut machine, &mut stuck);
    stuck.send_data(&mut machine, &[0]);
    machine.expect(operation::RESET);
    assert!(rest(&client).len() <= sent);
    assert_eq!(machine.statistics().resets, 1);
    assert_eq!(machine.statistics().connections, 0);
}

#[test]
fn a_guest_that_has_read_more_than_it_got_is_reset() {
    let mut machine = Machine::start();
    let (client, mut stream) = machine.host_connects(1);
    stream.forwarded = 1;
    stream.send(&mut machine, operation::CREDIT_UPDATE);
    machine.expect(operation::RESET);
    assert_eq!(rest(&client), b"");
}
