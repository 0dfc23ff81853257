//! Connections from the host and from the guest.

use std::io::{Read, Write};

use super::driver::{CID, Machine, Stream, line, rest};
use crate::bus::BusDevice;
use crate::virtio::vsock::packet::{HOST_CID, STREAM, operation};

#[test]
fn a_client_on_the_host_is_connected_to_the_port_that_its_line_names() {
    let mut machine = Machine::start();
    let mut client = machine.client("CONNECT 1234\n");
    let request = machine.expect(operation::REQUEST);
    let header = request.header;
    assert_eq!(header.source_cid.get(), HOST_CID);
    assert_eq!(header.destination_cid.get(), CID);
    assert_eq!(header.destination_port.get(), 1234);
    assert_eq!(header.kind.get(), STREAM);
    assert_eq!(header.buffer.get(), 256 << 10);
    let mut stream = Stream::answering(&request);
    stream.send(&mut machine, operation::RESPONSE);
    assert_eq!(line(&client), format!("OK {}\n", stream.host_port));
    client.write_all(b"to the guest").unwrap();
    assert_eq!(machine.expect(operation::DATA).payload, b"to the guest");
    stream.send_data(&mut machine, b"to the host");
    let mut bytes = [0; 11];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"to the host");
    let statistics = machine.statistics();
    assert_eq!(statistics.connections, 1);
    assert_eq!(statistics.bytes_to_guest, 12);
    assert_eq!(statistics.bytes_from_guest, 11);
}

#[test]
fn bytes_that_follow_the_line_at_once_belong_to_the_stream() {
    let mut machine = Machine::start();
    let client = machine.client("CONNECT 5\nGET /\n");
    let request = machine.expect(operation::REQUEST);
    let stream = Stream::answering(&request);
    // Not before the guest has accepted.
    machine.expect_nothing();
    stream.send(&mut machine, operation::RESPONSE);
    assert_eq!(machine.expect(operation::DATA).payload, b"GET /\n");
    assert!(line(&client).starts_with("OK "));
}

#[test]
fn a_client_is_closed_when_the_guest_refuses_it() {
    let mut machine = Machine::start();
    let client = machine.client("CONNECT 5\n");
    let request = machine.expect(operation::REQUEST);
    Stream::answering(&request).send(&mut machine, operation::RESET);
    assert_eq!(rest(&client), b"");
    assert_eq!(machine.statistics().refused, 1);
    assert_eq!(machine.statistics().resets, 0);
    machine.expect_nothing();
}

#[test]
fn a_client_without_a_driver_or_with_another_line_is_closed() {
    let mut machine = Machine::start();
    assert_eq!(rest(&machine.client("CONNECT\n")), b"");
    assert_eq!(rest(&machine.client("HELLO 5\n")), b"");
    machine.reset();
    assert_eq!(rest(&machine.client("CONNECT 5\n")), b"");
    assert_eq!(machine.statistics().refused, 3);
    machine.initialize();
    machine.host_connects(5);
}

#[test]
fn the_guest_reaches_a_listener_by_its_port() {
    let mut machine = Machine::start();
    let listener = machine.listener(7);
    let (mut client, mut stream) = machine.guest_connects(&listener, (99, 7));
    client.write_all(b"welcome").unwrap();
    assert_eq!(machine.expect(operation::DATA).payload, b"welcome");
    stream.send_data(&mut machine, b"hello");
    let mut bytes = [0; 5];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
}

#[test]
fn the_guest_is_refused_where_nobody_listens() {
    let mut machine = Machine::start();
    let stream = Stream::new(99, 8);
    stream.send(&mut machine, operation::REQUEST);
    let reset = machine.expect(operation::RESET).header;
    assert_eq!(reset.source_cid.get(), HOST_CID);
    assert_eq!(reset.destination_cid.get(), CID);
    let ports = (reset.source_port.get(), reset.destination_port.get());
    assert_eq!(ports, (8, 99));
    assert_eq!(machine.statistics().refused, 1);
    assert_eq!(machine.statistics().connections, 0);
}

#[test]
fn many_streams_at_once_keep_their_bytes_apart() {
    let mut machine = Machine::start();
    let mut streams: Vec<_> = (0..50).map(|port| machine.host_connects(port)).collect();
    for round in 0..3u8 {
        for (client, stream) in &mut streams {
            client.write_all(&[round; 10]).unwrap();
            stream.send_data(&mut machine, &[stream.host_port.to_le_bytes()[0]; 10]);
        }
        let mut ports = std::collections::BTreeMap::new();
        while ports.values().sum::<usize>() < 500 {
            let packet = machine.expect(operation::DATA);
            assert!(packet.payload.iter().all(|byte| *byte == round));
            let port = Stream::answering(&packet).host_port;
            *ports.entry(port).or_insert(0) += packet.payload.len();
        }
        assert_eq!(ports.len(), 50);
        for (client, stream) in &mut streams {
            let mut bytes = [0; 10];
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [stream.host_port.to_le_bytes()[0]; 10]);
        }
    }
    assert_eq!(machine.statistics().connections, 50);
}

#[test]
fn the_configuration_space_has_the_cid_of_the_guest() {
    let machine = Machine::start();
    let mut data = [0xaa; 12];
    machine.transport.read(0x100, &mut data);
    assert_eq!(data, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(machine.register(0x008), 19);
    machine.transport.write(0x100, &[9; 8]);
    assert_eq!(machine.register(0x100), 3);
}
