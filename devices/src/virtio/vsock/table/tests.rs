//! Bounds, and deadlines without a clock.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{
    EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberId, SubscriberOps,
};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::super::packet::{HOST_CID, Header, STREAM, operation};
use super::super::statistics::Counters;
use super::super::{Connector, UnixListeners};
use super::{Bounds, Next, Table};
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::segment::Segment;

const CID: u64 = 3;

struct Nobody;

impl MutEventSubscriber for Nobody {
    fn init(&mut self, _ops: &mut EventOps<'_>) {}

    fn process(&mut self, _events: Events, _ops: &mut EventOps<'_>) {}
}

/// A table with a driver, and its poll set.
struct Bench {
    table: Table,
    memory: Arc<GuestMemoryMmap>,
    poll: EventManager<Nobody>,
    nobody: SubscriberId,
}

impl Bench {
    fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap();
        let memory = Arc::new(memory);
        let connector: Box<dyn Connector> =
            Box::new(UnixListeners::beside("/nonexistent".as_ref()));
        let counters = Arc::new(Counters::default());
        let mut poll = EventManager::new().unwrap();
        let nobody = poll.add_subscriber(Nobody);
        let bounds = Bounds::default();
        let mut bench = Self {
            table: Table::new(CID, bounds, memory.clone(), connector, counters),
            memory,
            poll,
            nobody,
        };
        let mut ops = bench.poll.event_ops(bench.nobody).unwrap();
        bench.table.set_driver(true, &mut ops);
        bench
    }

    /// Connects a client, and returns it with the header of the guest's packets.
    fn connect(&mut self, now: Instant) -> (UnixStream, Header) {
        let (mut client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        client.write_all(b"CONNECT 1\n").unwrap();
        let mut ops = self.poll.event_ops(self.nobody).unwrap();
        self.table.admit(ours, now, &mut ops);
        let Next::Packet(request) = self.table.next(now) else {
            panic!("no request");
        };
        let header = Header {
            source_cid: CID.into(),
            destination_cid: HOST_CID.into(),
            source_port: request.destination_port,
            destination_port: request.source_port,
            kind: STREAM.into(),
            buffer: 10.into(),
            ..Header::default()
        };
        self.receive(header, operation::RESPONSE);
        (client, header)
    }

    fn receive(&mut self, mut header: Header, operation: u16) {
        header.operation = operation.into();
        let mut ops = self.poll.event_ops(self.nobody).unwrap();
        self.table.receive(&header, &[], &mut ops).unwrap();
    }

    fn hang_up(&mut self, now: Instant) {
        let events = EventSet::HANG_UP | EventSet::READ_HANG_UP | EventSet::IN | EventSet::OUT;
        let mut ops = self.poll.event_ops(self.nobody).unwrap();
        self.table.socket_event(0, events, now, &mut ops);
    }

    /// Sends the packets that the guest has credit for, and returns how many bytes of data.
    fn send(&mut self, now: Instant) -> u32 {
        let mut sent = 0;
        loop {
            let (slot, limit) = match self.table.next(now) {
                Next::Nothing => return sent,
                Next::Packet(_) => continue,
                Next::Data { slot, limit } => (slot, limit),
            };
            let segment = Segment {
                address: GuestAddress(0),
                length: limit,
            };
            let buffers = IoBuffers::new(&self.memory, [segment]).unwrap();
            let mut ops = self.poll.event_ops(self.nobody).unwrap();
            let read = self.table.read(slot, &buffers, &mut ops);
            if let Ok(read @ 1..) = u32::try_from(read) {
                self.table.data_packet(slot, read, now).unwrap();
                sent += read;
            }
            self.table.end_turn(slot);
        }
    }
}

#[test]
fn connections_leave_descriptors_to_the_rest_of_the_program() {
    let connections = |descriptors| Bounds::default().within(descriptors).connections;
    assert_eq!(connections(u64::MAX), 1024);
    assert_eq!(connections(1024 + 64 + 256), 1024);
    assert_eq!(connections(1024), 704);
    assert_eq!(connections(100), 1);
}

#[test]
fn a_slow_guest_has_its_time_anew_with_each_packet_of_a_client_that_has_left() {
    let start = Instant::now();
    let second = |second| start + Duration::from_secs(second);
    let mut bench = Bench::new();
    let (mut client, mut header) = bench.connect(start);
    client.write_all(&[7; 25]).unwrap();
    // The credit is used up.
    assert_eq!(bench.send(second(1)), 10);
    assert_eq!(bench.table.deadline(), None);
    bench.hang_up(second(2));
    assert_eq!(bench.send(second(2)), 0);
    assert_eq!(bench.table.deadline(), Some(second(10)));
    // Another event does not put it off, nor does a packet without room.
    bench.hang_up(second(3));
    bench.receive(header, operation::CREDIT_UPDATE);
    assert_eq!(bench.send(second(3)), 0);
    assert_eq!(bench.table.deadline(), Some(second(10)));
    header.forwarded = 10.into();
    bench.receive(header, operation::CREDIT_UPDATE);
    assert_eq!(bench.send(second(9)), 10);
    assert_eq!(bench.table.deadline(), Some(second(17)));
    // A pause of the machine does not count, and does not give more time than that.
    bench.table.postpone(second(100));
    assert_eq!(bench.table.deadline(), Some(second(108)));
    header.forwarded = 20.into();
    bench.receive(header, operation::CREDIT_UPDATE);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.send(second(107)), 5);
    // The guest has as long for its answer to the end.
    assert_eq!(bench.table.deadline(), Some(second(115)));
    bench.receive(header, operation::CREDIT_REQUEST);
    assert_eq!(bench.send(second(110)), 0);
    assert_eq!(bench.table.deadline(), Some(second(115)));
    let mut ops = bench.poll.event_ops(bench.nobody).unwrap();
    bench.table.expire(second(115), &mut ops);
    let Next::Packet(reset) = bench.table.next(second(115)) else {
        panic!("no reset");
    };
    assert_eq!(reset.operation.get(), operation::RESET);
    assert_eq!(bench.table.deadline(), None);
}
