//! Pauses, saved states, and notifications.

use std::io::Write;

use super::driver::{Machine, Stream, line, rest};
use crate::life_cycle::LifeCycle;
use crate::virtio::vsock::packet::operation;

#[test]
fn a_device_that_is_asleep_serves_nobody_until_it_is_woken() {
    let mut machine = Machine::start();
    let (mut client, mut stream) = machine.host_connects(1);
    machine.pause();
    client.write_all(b"early").unwrap();
    stream.send_data(&mut machine, b"early, too");
    let waiting = machine.client("CONNECT 2\n");
    machine.expect_nothing();
    assert_eq!(machine.untaken(), 1);
    machine.resume();
    let mut operations = [machine.receive(), machine.receive()].map(|packet| packet.operation());
    operations.sort_unstable();
    assert_eq!(operations, [operation::REQUEST, operation::DATA]);
    machine.wait(|machine| machine.untaken() == 0);
    drop(waiting);
}

#[test]
fn a_restored_driver_learns_that_its_connections_have_ended() {
    let mut machine = Machine::start();
    let (client, stream) = machine.host_connects(1);
    machine.pause();
    let state = machine.transport.save().unwrap();
    let mut restored = machine.into_successor();
    // The first device has ended with its connections.
    assert_eq!(rest(&client), b"");
    restored.transport.restore(&state).unwrap();
    // A device that was not woken yet has the same state again.
    assert_eq!(restored.transport.save().unwrap(), state);
    restored.resume();
    restored.barrier();
    assert_eq!(restored.event(), None);
    restored.give_for_event();
    restored.wait(|restored| restored.line.read().is_ok());
    assert_eq!(restored.event(), Some([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
    stream.send(&mut restored, operation::CREDIT_REQUEST);
    restored.expect(operation::RESET);
    restored.host_connects(2);
    restored.give_for_event();
    restored.barrier();
    assert_eq!(restored.event(), None);
}

#[test]
fn a_client_of_a_restored_device_waits_for_the_event_and_gets_no_port_of_an_earlier_one() {
    let mut machine = Machine::start();
    let (_client, stream) = machine.host_connects(1);
    machine.pause();
    let state = machine.transport.save().unwrap();
    let mut restored = machine.into_successor();
    restored.transport.restore(&state).unwrap();
    restored.resume();
    restored.barrier();
    let client = restored.client("CONNECT 1\n");
    restored.wait(|restored| restored.statistics().connections == 1);
    restored.expect_nothing();
    restored.give_for_event();
    let request = restored.expect(operation::REQUEST);
    assert!(restored.event().is_some());
    let next = Stream::answering(&request);
    assert_eq!(next.host_port, stream.host_port + 1);
    next.send(&mut restored, operation::RESPONSE);
    assert_eq!(line(&client), format!("OK {}\n", next.host_port));
}

#[test]
fn a_device_is_restored_to_what_it_was_before_its_driver() {
    let mut machine = Machine::start();
    machine.reset();
    machine.pause();
    let state = machine.transport.save().unwrap();
    machine.resume();
    machine.initialize();
    let (client, _) = machine.host_connects(1);
    machine.pause();
    machine.transport.restore(&state).unwrap();
    machine.resume();
    assert_eq!(rest(&client), b"");
    assert_eq!(rest(&machine.client("CONNECT 1\n")), b"");
    machine.reset();
    machine.initialize();
    machine.give_for_event();
    machine.barrier();
    assert_eq!(machine.event(), None);
}

#[test]
fn a_device_that_runs_is_neither_saved_nor_restored() {
    let mut machine = Machine::start();
    assert!(machine.transport.save().is_err());
    machine.pause();
    let state = machine.transport.save().unwrap();
    machine.resume();
    assert!(machine.transport.restore(&state).is_err());
    machine.host_connects(1);
}

#[test]
fn several_packets_of_one_turn_raise_one_interrupt() {
    let mut machine = Machine::start();
    machine.reset();
    machine.has_event_index = false;
    machine.initialize();
    let (mut client, mut stream) = machine.host_connects(1);
    machine.pause();
    while machine.line.read().is_ok() {}
    client.write_all(&[7; 40_000]).unwrap();
    for _ in 0..10 {
        stream.send_data(&mut machine, b"x");
    }
    // The device knows of the client's bytes before its turn.
    machine.barrier();
    machine.resume();
    machine.wait(|machine| machine.untaken() == 0 && machine.statistics().bytes_to_guest == 40_000);
    machine.barrier();
    assert_eq!(machine.line.read().unwrap(), 1);
    while machine.try_receive().is_some() {}
    let late = Stream::new(9, 9);
    late.send(&mut machine, operation::DATA);
    machine.expect(operation::RESET);
}
