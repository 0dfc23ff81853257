//! Half-close, close and reset, from either side.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::driver::{DEADLINE, Machine, Stream, rest};
use crate::virtio::device::VirtioDevice;
use crate::virtio::vsock::packet::{operation, shutdown};
use crate::virtio::vsock::table::Bounds;

#[test]
fn a_client_that_has_written_all_still_reads() {
    let mut machine = Machine::start();
    let (mut client, mut stream) = machine.host_connects(1);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(machine.expect(operation::DATA).payload, b"question");
    let end = machine.expect(operation::SHUTDOWN).header;
    assert_eq!(end.flags.get(), shutdown::SEND);
    stream.send_data(&mut machine, b"answer");
    stream.send_shutdown(&mut machine, shutdown::BOTH);
    machine.expect(operation::RESET);
    assert_eq!(rest(&client), b"answer");
    assert_eq!(machine.statistics().connections, 0);
    assert_eq!(machine.statistics().resets, 0);
    machine.expect_nothing();
}

#[test]
fn a_guest_that_has_sent_all_still_receives() {
    let mut machine = Machine::start();
    let (mut client, mut stream) = machine.host_connects(1);
    stream.send_data(&mut machine, b"question");
    stream.send_shutdown(&mut machine, shutdown::SEND);
    assert_eq!(rest(&client), b"question");
    client.write_all(b"answer").unwrap();
    assert_eq!(machine.expect(operation::DATA).payload, b"answer");
    // Data behind its end breaks the protocol.
    stream.send_data(&mut machine, b"more");
    machine.expect(operation::RESET);
}

#[test]
fn a_client_of_a_deaf_guest_cannot_write() {
    let mut machine = Machine::start();
    let (mut client, mut stream) = machine.host_connects(1);
    stream.send_shutdown(&mut machine, shutdown::RECEIVE);
    stream.send_data(&mut machine, b"only this way");
    let mut bytes = [0; 13];
    client.read_exact(&mut bytes).unwrap();
    let error = client.write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_client_that_has_left_is_told_after_its_last_bytes() {
    let mut machine = Machine::start();
    let (mut client, mut stream) = machine.host_connects(1);
    client.write_all(b"last words").unwrap();
    drop(client);
    // Either order: the end may be noticed before the bytes are read.
    let mut flags = 0;
    let mut bytes = Vec::new();
    while flags != shutdown::BOTH {
        let packet = machine.receive();
        match packet.operation() {
            operation::DATA => bytes.extend(packet.payload),
            operation::SHUTDOWN => flags = packet.header.flags.get(),
            other => panic!("{other}"),
        }
    }
    assert_eq!(bytes, b"last words");
    // Data under way is dropped, and the credit for it is given back.
    stream.send_data(&mut machine, &[0; 60_000]);
    stream.send_data(&mut machine, &[0; 60_000]);
    stream.send_data(&mut machine, &[0; 60_000]);
    machine.expect(operation::CREDIT_UPDATE);
    stream.send(&mut machine, operation::RESET);
    machine.expect_nothing();
    assert_eq!(machine.statistics().connections, 0);
    assert_eq!(machine.statistics().resets, 0);
}

#[test]
fn a_guest_that_does_not_answer_the_end_is_reset() {
    let mut machine = Machine::with(Bounds {
        closing: Duration::from_millis(20),
        ..Bounds::default()
    });
    let (client, _) = machine.host_connects(1);
    drop(client);
    while machine.receive().operation() != operation::RESET {}
    machine.expect_nothing();
    assert_eq!(machine.statistics().connections, 0);
    assert_eq!(machine.statistics().resets, 1);
    assert_eq!(machine.statistics().refused, 0);
}

#[test]
fn a_client_that_does_not_read_that_it_is_connected_is_not() {
    let mut machine = Machine::start();
    let client = machine.client("CONNECT 1\n");
    let request = machine.expect(operation::REQUEST);
    client.shutdown(Shutdown::Read).unwrap();
    Stream::answering(&request).send(&mut machine, operation::RESPONSE);
    machine.expect(operation::RESET);
    assert_eq!(machine.statistics().resets, 0);
    assert_eq!(machine.statistics().refused, 1);
}

#[test]
fn a_guest_that_takes_nothing_of_a_client_that_has_left_is_reset() {
    let bounds = Bounds {
        closing: Duration::from_millis(20),
        ..Bounds::default()
    };
    // Without credit.
    let mut machine = Machine::with(bounds);
    machine.buffer = 0;
    let (mut client, _) = machine.host_connects(1);
    client.write_all(b"never taken").unwrap();
    drop(client);
    while machine.receive().operation() != operation::RESET {}
    assert_eq!(machine.statistics().connections, 0);
    // Without buffers.
    let mut machine = Machine::with(bounds);
    machine.recycles = false;
    let (mut client, _) = machine.host_connects(1);
    client.write_all(&[1; 1 << 18]).unwrap();
    machine.wait(|machine| machine.statistics().bytes_to_guest >= 60 * 4000);
    drop(client);
    machine.wait(|machine| machine.statistics().connections == 0);
}

#[test]
fn a_guest_that_does_not_answer_a_request_and_a_client_without_a_line_are_given_up() {
    let mut machine = Machine::with(Bounds {
        opening: Duration::from_millis(20),
        ..Bounds::default()
    });
    let silent = machine.client("CONN");
    assert_eq!(rest(&silent), b"");
    let client = machine.client("CONNECT 1\n");
    machine.expect(operation::REQUEST);
    machine.expect(operation::RESET);
    assert_eq!(rest(&client), b"");
    assert_eq!(machine.statistics().refused, 2);
}

#[test]
fn a_client_that_leaves_before_the_guest_has_answered_is_reset() {
    let mut machine = Machine::start();
    let client = machine.client("CONNECT 1\n");
    machine.expect(operation::REQUEST);
    drop(client);
    machine.expect(operation::RESET);
    assert_eq!(machine.statistics().connections, 0);
}

#[test]
fn bytes_of_a_guest_that_has_closed_reach_a_client_that_reads_later() {
    let mut machine = Machine::start();
    let (client, mut stream) = machine.host_connects(1);
    // More than a socket's buffer, and no more than the credit.
    let text: Vec<u8> = (0..=250u8).cycle().take(256 << 10).collect();
    for part in text.chunks(32 << 10) {
        stream.send_data(&mut machine, part);
    }
    stream.send_shutdown(&mut machine, shutdown::BOTH);
    while machine.receive().operation() != operation::RESET {}
    // The next connection may have the same ports.
    machine.reset();
    machine.initialize();
    assert!(rest(&client) == text);
    machine.wait(|machine| machine.statistics().connections == 0);
}

/// Sends more than the client's socket holds, and closes the connection.
fn send_and_close(machine: &mut Machine, stream: &mut Stream) {
    for _ in 0..8 {
        stream.send_data(machine, &[7; 32 << 10]);
    }
    stream.send_shutdown(machine, shutdown::BOTH);
    while machine.receive().operation() != operation::RESET {}
}

#[test]
fn only_a_connection_that_is_made_takes_the_place_of_bytes_untaken_and_that_of_the_oldest() {
    let mut machine = Machine::with(Bounds {
        connections: 2,
        ..Bounds::default()
    });
    let listener = machine.listener(7);
    // The oldest is not the first in the table.
    let (first, mut newer) = machine.host_connects(1);
    let (oldest, mut older) = machine.host_connects(2);
    send_and_close(&mut machine, &mut older);
    send_and_close(&mut machine, &mut newer);
    assert_eq!(machine.statistics().connections, 2);
    Stream::new(1, 8).send(&mut machine, operation::REQUEST);
    machine.expect(operation::RESET);
    assert_eq!(machine.statistics().connections, 2);
    machine.guest_connects(&listener, (1, 7));
    assert_eq!(machine.statistics().connections, 2);
    assert!(rest(&oldest).len() < 256 << 10);
    assert_eq!(rest(&first).len(), 256 << 10);
}

#[test]
fn bytes_of_a_guest_that_is_reset_or_whose_device_ends_reach_a_client_that_reads_later() {
    for ends in [false, true] {
        let mut machine = Machine::with(Bounds {
            farewell: DEADLINE,
            ..Bounds::default()
        });
        let (client, mut stream) = machine.host_connects(1);
        // The credit of a connection whose client reads nothing.
        let text: Vec<u8> = (0..=250u8).cycle().take(256 << 10).collect();
        for part in text.chunks(32 << 10) {
            stream.send_data(&mut machine, part);
        }
        machine.wait(|machine| machine.untaken() == 0);
        let ending = if ends {
            Some(thread::spawn(move || drop(machine)))
        } else {
            machine.reset();
            assert_eq!(machine.statistics().connections, 1);
            assert!(rest(&client) == text);
            None
        };
        if let Some(ending) = ending {
            assert!(rest(&client) == text);
            ending.join().unwrap();
        }
    }
}

#[test]
fn packets_in_the_ring_of_a_guest_that_is_reset_or_whose_device_ends_reach_the_client() {
    for ends in [false, true] {
        let mut machine = Machine::start();
        let listener = machine.listener(7);
        let (client, mut stream) = machine.host_connects(1);
        machine.pause();
        stream.send_data(&mut machine, b"last ");
        stream.send_data(&mut machine, b"words");
        stream.send_shutdown(&mut machine, shutdown::BOTH);
        // No connection is begun any more.
        Stream::new(1, 7).send(&mut machine, operation::REQUEST);
        assert_eq!(machine.untaken(), 4);
        if ends {
            drop(machine);
        } else {
            machine.reset();
        }
        assert_eq!(rest(&client), b"last words");
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn the_end_of_the_device_does_not_wait_for_a_client_that_reads_nothing() {
    let mut machine = Machine::with(Bounds {
        farewell: Duration::from_millis(20),
        ..Bounds::default()
    });
    let (client, mut stream) = machine.host_connects(1);
    for _ in 0..8 {
        stream.send_data(&mut machine, &[1; 32 << 10]);
    }
    machine.wait(|machine| machine.untaken() == 0);
    drop(machine);
    assert!(rest(&client).len() <= 256 << 10);
}

#[test]
fn the_end_of_the_device_does_not_spin_while_it_waits_for_a_client() {
    // Its accepts fail, and are tried again in a second.
    let mut machine = Machine::without_clients(Bounds {
        farewell: Duration::from_secs(2),
        ..Bounds::default()
    });
    let listener = machine.listener(7);
    let (client, mut stream) = machine.guest_connects(&listener, (1, 7));
    send_and_close(&mut machine, &mut stream);
    let thread = machine.vsock.thread.id();
    let spent = || {
        let statistics = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
        let nanoseconds = statistics.ok()?.split(' ').next()?.parse().ok()?;
        Some(Duration::from_nanos(nanoseconds))
    };
    let before = spent().unwrap();
    let (done, is_done) = mpsc::channel();
    machine
        .vsock
        .close(Box::new(move || done.send(()).unwrap()));
    let mut after = before;
    while is_done.recv_timeout(Duration::from_millis(5)).is_err() {
        after = spent().unwrap_or(after);
    }
    assert!(
        after - before < Duration::from_millis(200),
        "{before:?}, {after:?}"
    );
    drop(client);
}

#[test]
fn a_client_that_leaves_with_bytes_unread_resets_the_guest() {
    let mut machine = Machine::start();
    let (client, mut stream) = machine.host_connects(1);
    stream.send_data(&mut machine, b"unread");
    machine.wait(|machine| machine.untaken() == 0);
    drop(client);
    while machine.receive().operation() != operation::RESET {}
    assert_eq!(machine.statistics().resets, 1);
}

#[test]
fn a_reset_of_the_guest_closes_the_client() {
    let mut machine = Machine::start();
    let (client, stream) = machine.host_connects(1);
    stream.send(&mut machine, operation::RESET);
    assert_eq!(rest(&client), b"");
    machine.expect_nothing();
    assert_eq!(machine.statistics().resets, 1);
}

#[test]
fn a_reset_of_the_device_closes_every_connection_and_none_that_comes_later() {
    let mut machine = Machine::start();
    let (client, _) = machine.host_connects(1);
    let waiting = machine.client("CONNECT 2\n");
    machine.expect(operation::REQUEST);
    let unfinished = machine.client("CONN");
    machine.barrier();
    machine.reset();
    assert_eq!(rest(&client), b"");
    assert_eq!(rest(&waiting), b"");
    assert_eq!(machine.statistics().resets, 0);
    assert_eq!(machine.statistics().refused, 1);
    machine.initialize();
    (&unfinished).write_all(b"ECT 3\n").unwrap();
    let request = machine.expect(operation::REQUEST);
    assert_eq!(request.header.destination_port.get(), 3);
}
