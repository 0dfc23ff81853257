//! Guests and clients that mean no good.

use std::io::Write;

use super::driver::{CID, MEMORY, Machine, SIZE, Stream, rest};
use crate::virtio::vsock::packet::{HEADER, HOST_CID, Header, STREAM, operation};
use crate::virtio::vsock::table::Bounds;
use crate::virtio::vsock::worker::{RECEIVE, TRANSMIT};

/// A queue, and a chain's parts: address, length, and whether the device writes it.
type Chain<'a> = (usize, &'a [(u64, u32, bool)]);

/// Where nothing else is.
const SPACE: u64 = 0xe_0000;

#[test]
fn a_chain_that_the_standard_forbids_makes_the_device_ask_for_a_reset() {
    let header = u32::try_from(HEADER).unwrap();
    let forbidden: [Chain<'_>; 9] = [
        (TRANSMIT, &[(SPACE, header, true)]),
        (TRANSMIT, &[(SPACE, header, false), (SPACE, 1, true)]),
        (TRANSMIT, &[(SPACE, header - 1, false)]),
        (TRANSMIT, &[(SPACE, 0, false)]),
        (TRANSMIT, &[(MEMORY - 4, header, false)]),
        (TRANSMIT, &[(u64::MAX - 4, header, false)]),
        (RECEIVE, &[(SPACE, 4096, false)]),
        (RECEIVE, &[(SPACE, header - 1, true)]),
        (RECEIVE, &[(MEMORY - 4, 4096, true)]),
    ];
    for (queue, parts) in forbidden {
        let mut machine = Machine::start();
        machine.reset();
        machine.initialize_without_buffers();
        machine.write(SPACE, &[0; 4096]);
        machine.offer_chain(queue, parts);
        let waiting = (queue == RECEIVE).then(|| machine.client("CONNECT 1\n"));
        machine.wait_needs_reset();
        if let Some(client) = waiting {
            assert_eq!(rest(&client), b"");
        }
        machine.reset();
        machine.initialize();
        machine.host_connects(1);
    }
}

#[test]
fn a_packet_that_is_longer_than_its_buffer_makes_the_device_ask_for_a_reset() {
    for length in [1, 65_537, u32::MAX] {
        let mut machine = Machine::start();
        let (client, stream) = machine.host_connects(1);
        let header = Header {
            length: length.into(),
            ..stream.header(&machine, operation::DATA)
        };
        machine.send(&header, &[]);
        machine.wait_needs_reset();
        assert_eq!(rest(&client), b"");
    }
}

#[test]
fn a_payload_outside_of_memory_makes_the_device_ask_for_a_reset() {
    let mut machine = Machine::start();
    let (client, stream) = machine.host_connects(1);
    let header = Header {
        length: 8.into(),
        ..stream.header(&machine, operation::DATA)
    };
    machine.write(SPACE, zerocopy::IntoBytes::as_bytes(&header));
    let header = u32::try_from(HEADER).unwrap();
    machine.offer_chain(TRANSMIT, &[(SPACE, header, false), (MEMORY - 4, 8, false)]);
    machine.wait_needs_reset();
    assert_eq!(rest(&client), b"");
}

#[test]
fn a_packet_for_nobody_is_refused_and_one_from_nobody_is_dropped() {
    let mut machine = Machine::start();
    let stream = Stream::new(5, 6);
    for operation in [0, 2, 4, 5, 6, 7, 8, u16::MAX] {
        stream.send(&mut machine, operation);
        machine.expect(operation::RESET);
    }
    stream.send(&mut machine, operation::RESET);
    let mut header = stream.header(&machine, operation::REQUEST);
    for cid in [0, 1, CID, 4, u64::MAX] {
        header.destination_cid = cid.into();
        machine.send(&header, &[]);
        let reset = machine.expect(operation::RESET).header;
        assert_eq!(reset.source_cid.get(), cid);
    }
    header.destination_cid = HOST_CID.into();
    header.kind = (STREAM + 1).into();
    machine.send(&header, &[]);
    assert_eq!(
        machine.expect(operation::RESET).header.kind.get(),
        STREAM + 1
    );
    header.source_cid = (CID + 1).into();
    machine.send(&header, &[]);
    machine.expect_nothing();
    assert_eq!(machine.statistics().connections, 0);
}

#[test]
fn operations_out_of_turn_reset_the_connection() {
    for operation in [0, operation::REQUEST, operation::RESPONSE, 8, u16::MAX] {
        let mut machine = Machine::start();
        let (client, stream) = machine.host_connects(1);
        stream.send(&mut machine, operation);
        machine.expect(operation::RESET);
        assert_eq!(rest(&client), b"");
        assert_eq!(machine.statistics().resets, 1);
    }
    for operation in [
        operation::DATA,
        operation::CREDIT_UPDATE,
        operation::SHUTDOWN,
    ] {
        let mut machine = Machine::start();
        let client = machine.client("CONNECT 1\n");
        let request = machine.expect(operation::REQUEST);
        Stream::answering(&request).send(&mut machine, operation);
        machine.expect(operation::RESET);
        assert_eq!(rest(&client), b"");
        assert_eq!(machine.statistics().resets, 0);
        assert_eq!(machine.statistics().refused, 1);
    }
}

#[test]
fn a_guest_that_takes_no_replies_is_not_read_any_further() {
    let replies = 10;
    let mut machine = Machine::with(Bounds {
        replies,
        ..Bounds::default()
    });
    machine.reset();
    machine.initialize_without_buffers();
    machine.recycles = false;
    let stream = Stream::new(5, 6);
    for _ in 0..SIZE {
        let header = stream.header(&machine, operation::DATA);
        machine.post(&header, &[]);
    }
    machine.barrier();
    assert_eq!(usize::from(machine.taken()), replies);
    // Each buffer that it gives takes one reply, and lets one packet through.
    for given in 1..=SIZE {
        machine.give(1);
        machine.expect(operation::RESET);
        machine.barrier();
        let taken = (replies + usize::from(given)).min(usize::from(SIZE));
        assert_eq!(usize::from(machine.taken()), taken);
    }
}

#[test]
fn connections_have_a_bound_for_the_guest_and_for_the_host() {
    let mut machine = Machine::with(Bounds {
        connections: 10,
        ..Bounds::default()
    });
    let listener = machine.listener(7);
    let mut open: Vec<_> = (0..10)
        .map(|port| machine.guest_connects(&listener, (port, 7)))
        .collect();
    let eleventh = Stream::new(10, 7);
    eleventh.send(&mut machine, operation::REQUEST);
    machine.expect(operation::RESET);
    assert_eq!(rest(&machine.client("CONNECT 1\n")), b"");
    assert_eq!(machine.statistics().refused, 2);
    assert_eq!(machine.statistics().connections, 10);
    let (client, mut stream) = open.pop().unwrap();
    stream.send_data(&mut machine, b"still there");
    stream.send(&mut machine, operation::RESET);
    drop(client);
    machine.guest_connects(&listener, (11, 7));
}

#[test]
fn clients_that_write_no_line_do_not_keep_out_others_for_ever() {
    let mut machine = Machine::with(Bounds {
        handshakes: 3,
        opening: std::time::Duration::from_millis(50),
        ..Bounds::default()
    });
    let silent: Vec<_> = (0..10).map(|_| machine.client("CONNECT")).collect();
    let (mut client, _) = machine.host_connects(1);
    client.write_all(b"at last").unwrap();
    assert_eq!(machine.expect(operation::DATA).payload, b"at last");
    drop(silent);
}

#[test]
fn a_flood_of_clients_is_served_one_after_the_other() {
    let mut machine = Machine::start();
    for round in 0..200 {
        let client = machine.client(&format!("CONNECT {round}\n"));
        let request = machine.expect(operation::REQUEST);
        Stream::answering(&request).send(&mut machine, operation::RESET);
        assert_eq!(rest(&client), b"");
    }
    assert_eq!(machine.statistics().connections, 0);
}
