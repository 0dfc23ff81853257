//! A driver of the vsock device, and clients and listeners on the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::IntoBytes;

use super::super::packet::{HEADER, HOST_CID, Header, STREAM, operation};
use super::super::table::Bounds;
use super::super::worker::{EVENT, RECEIVE, TRANSMIT};
use super::super::{GuestCid, UnixListeners, VirtioVsock, VsockStatistics};
use crate::bus::BusDevice;
use crate::life_cycle::{LifeCycle, Run};
use crate::thread::ThreadStart;
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::mmio::{MmioTransport, QUEUE_NOTIFY};
use crate::virtio::transport::{RingFeatures, status};

/// Length of guest memory.
pub const MEMORY: u64 = 0x80_0000;
/// Bytes of a buffer for the device, as in Linux.
pub const BUFFER: u32 = 4096;
/// Descriptors of each queue.
pub const SIZE: u16 = 64;
/// The guest's CID.
pub const CID: u64 = 3;

/// Where a queue's parts are: the descriptor table, the available ring, the used ring.
const QUEUES: u64 = 0x1_0000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x8000;
/// Where the buffers are, by queue and descriptor.
const RECEIVED: u64 = 0x10_0000;
const SENT: u64 = 0x20_0000;
const SENT_ROOM: u64 = 0x1_1000;
const EVENTS: u64 = 0xf_0000;
const STATUS: u64 = 0x070;

/// Timeout for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A packet of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Packet {
    pub fn operation(&self) -> u16 {
        self.header.operation.get()
    }
}

/// One queue of the driver.
#[derive(Debug, Clone, Copy, Default)]
struct Queue {
    available: u16,
    used: u16,
}

/// The device, its driver, and a directory for sockets.
pub struct Machine {
    pub transport: MmioTransport,
    pub line: EventFd,
    pub vsock: Arc<VirtioVsock>,
    memory: Arc<GuestMemoryMmap>,
    directory: TempDir,
    queues: [Queue; 3],
    /// Bytes that the guest says it holds.
    pub buffer: u32,
    /// Whether a buffer is given back once its packet is read.
    pub recycles: bool,
    /// Whether notifications are suppressed by an index in the ring, not by flags.
    pub has_event_index: bool,
    run: Run,
}

impl Machine {
    /// A device whose driver is set up, and which runs. It has all of its buffers.
    pub fn start() -> Self {
        Self::with(Bounds::default())
    }

    /// The same with other bounds.
    pub fn with(bounds: Bounds) -> Self {
        let mut machine = Self::before_its_driver(bounds);
        machine.initialize();
        machine.resume();
        machine
    }

    /// The same, but each accept of the device fails.
    pub fn without_clients(bounds: Bounds) -> Self {
        let deaf = OwnedFd::from(UnixDatagram::unbound().unwrap());
        let mut machine = Self::behind(bounds, |_| deaf.into());
        machine.initialize();
        machine.resume();
        machine
    }

    /// A device that is paused, without a driver.
    pub fn before_its_driver(bounds: Bounds) -> Self {
        Self::behind(bounds, |path| UnixListener::bind(path).unwrap())
    }

    fn behind(bounds: Bounds, listener: impl FnOnce(&Path) -> UnixListener) -> Self {
        let length = usize::try_from(MEMORY).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), length)]).unwrap();
        let memory = Arc::new(memory);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vsock");
        let listener = listener(&path);
        listener.set_nonblocking(true).unwrap();
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let vsock = VirtioVsock::with_bounds(
            GuestCid::new(3).unwrap(),
            bounds,
            listener,
            Box::new(UnixListeners::beside(&path)),
            memory.clone(),
            &ThreadStart::default(),
        );
        let vsock = Arc::new(vsock.unwrap());
        let edge = Arc::new(line.try_clone().unwrap());
        Self {
            transport: MmioTransport::new(vsock.clone(), RingFeatures::default(), edge),
            line,
            vsock,
            memory,
            directory,
            queues: [Queue::default(); 3],
            buffer: 256 << 10,
            recycles: true,
            has_event_index: true,
            run: Run(0),
        }
    }

    pub fn resume(&mut self) {
        self.run = Run(self.run.0 + 1);
        self.transport.resume(self.run);
    }

    /// Pauses the device, and waits until it is quiesced.
    pub fn pause(&self) {
        let (done, is_done) = mpsc::channel();
        self.transport
            .pause(Box::new(move || done.send(()).unwrap()));
        is_done.recv_timeout(DEADLINE).unwrap();
    }

    /// Returns when the thread has handled all earlier messages, kicks and socket events.
    pub fn barrier(&self) {
        // An event may be in the batch behind that of the message.
        for _ in 0..3 {
            drop(self.vsock.save());
        }
    }

    pub fn register(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn set_register(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    /// Negotiates, sets up the queues, sets DRIVER_OK, and gives all buffers.
    pub fn initialize(&mut self) {
        self.initialize_without_buffers();
        self.give(SIZE);
    }

    pub fn initialize_without_buffers(&mut self) {
        self.set_register(STATUS, 3);
        // STREAM, EVENT_IDX unless it is left out, and VERSION_1.
        self.set_register(0x024, 0);
        self.set_register(0x020, 1 | u32::from(self.has_event_index) << 29);
        self.set_register(0x024, 1);
        self.set_register(0x020, 1);
        self.set_register(STATUS, 11);
        assert_eq!(self.register(STATUS), 11, "features refused");
        for queue in [RECEIVE, TRANSMIT, EVENT] {
            self.set_register(0x030, u32::try_from(queue).unwrap());
            self.set_register(0x038, SIZE.into());
            for (register, part) in [(0x080, 0), (0x090, AVAILABLE), (0x0a0, USED)] {
                let address = at(queue) + part;
                self.set_register(register, u32::try_from(address).unwrap());
            }
            self.set_register(0x044, 1);
        }
        self.set_register(STATUS, 15);
        // A client that comes before the device knows of its driver is refused.
        self.barrier();
    }

    /// Resets the device, and forgets the rings.
    pub fn reset(&mut self) {
        self.set_register(STATUS, 0);
        assert_eq!(self.register(STATUS), 0);
        let rings = vec![0; 0x3_0000];
        self.memory
            .write_slice(&rings, GuestAddress(QUEUES))
            .unwrap();
        self.queues = [Queue::default(); 3];
    }

    /// Moves the driver and its memory to a new device.
    pub fn into_successor(self) -> Self {
        let mut next = Self::before_its_driver(Bounds::default());
        let mut contents = vec![0; usize::try_from(MEMORY).unwrap()];
        self.memory
            .read_slice(&mut contents, GuestAddress(0))
            .unwrap();
        next.memory.write_slice(&contents, GuestAddress(0)).unwrap();
        next.queues = self.queues;
        next
    }

    /// Describes a buffer: address, length, flags.
    fn describe(&self, queue: usize, index: u16, (address, length, flags): (u64, u32, u32)) {
        let flags = u16::try_from(flags).unwrap();
        let descriptor = Descriptor::new(address, length, flags, index + 1);
        let place = GuestAddress(at(queue) + 16 * u64::from(index));
        self.memory.write_obj(descriptor, place).unwrap();
    }

    fn offer(&mut self, queue: usize, head: u16) {
        let state = &mut self.queues[queue];
        let ring = at(queue) + AVAILABLE;
        let entry = ring + 4 + 2 * u64::from(state.available % SIZE);
        self.memory.write_obj(head, GuestAddress(entry)).unwrap();
        state.available = state.available.wrapping_add(1);
        self.memory
            .write_obj(state.available, GuestAddress(ring + 2))
            .unwrap();
        self.set_register(QUEUE_NOTIFY, u32::try_from(queue).unwrap());
    }

    /// Offers a chain of these parts, whatever they are.
    pub fn offer_chain(&mut self, queue: usize, parts: &[(u64, u32, bool)]) {
        let head = self.queues[queue].available % SIZE;
        for (index, (address, length, is_writable)) in (head..).zip(parts) {
            let is_last = usize::from(index - head) + 1 == parts.len();
            let next = if is_last { 0 } else { VRING_DESC_F_NEXT };
            let write = if *is_writable { VRING_DESC_F_WRITE } else { 0 };
            self.describe(queue, index, (*address, *length, next | write));
        }
        self.offer(queue, head);
    }

    /// Gives so many buffers for packets to the device.
    pub fn give(&mut self, count: u16) {
        for _ in 0..count {
            let index = self.queues[RECEIVE].available % SIZE;
            let address = RECEIVED + u64::from(BUFFER) * u64::from(index);
            self.describe(RECEIVE, index, (address, BUFFER, VRING_DESC_F_WRITE));
            self.offer(RECEIVE, index);
        }
    }

    /// Gives a buffer for an event.
    pub fn give_for_event(&mut self) {
        self.describe(EVENT, 0, (EVENTS, 8, VRING_DESC_F_WRITE));
        self.memory
            .write_slice(&[0xff; 8], GuestAddress(EVENTS))
            .unwrap();
        self.offer(EVENT, 0);
    }

    /// The event that came, if one did.
    pub fn event(&mut self) -> Option<[u8; 8]> {
        self.next_used(EVENT)?;
        let mut event = [0; 8];
        self.memory
            .read_slice(&mut event, GuestAddress(EVENTS))
            .unwrap();
        Some(event)
    }

    /// The head and length of the next used chain.
    fn next_used(&mut self, queue: usize) -> Option<(u32, u32)> {
        let ring = at(queue) + USED;
        let index: u16 = self.memory.read_obj(GuestAddress(ring + 2)).unwrap();
        let state = &mut self.queues[queue];
        if state.used == index {
            return None;
        }
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        let entry = ring + 4 + 8 * u64::from(state.used % SIZE);
        state.used = state.used.wrapping_add(1);
        let [head, length] = [0, 4].map(|offset| {
            let place = GuestAddress(entry + offset);
            self.memory.read_obj::<u32>(place).unwrap()
        });
        Some((head, length))
    }

    /// How many of the guest's packets the device has taken.
    pub fn taken(&self) -> u16 {
        let index = GuestAddress(at(TRANSMIT) + USED + 2);
        self.memory.read_obj(index).unwrap()
    }

    /// How many of the guest's packets the device has not taken.
    pub fn untaken(&self) -> u16 {
        let offered = self.queues[TRANSMIT].available;
        offered.wrapping_sub(self.taken())
    }

    /// A packet of the device, if there is one.
    pub fn try_receive(&mut self) -> Option<Packet> {
        let (head, length) = self.next_used(RECEIVE)?;
        let address = RECEIVED + u64::from(BUFFER) * u64::from(head);
        let mut bytes = vec![0; length as usize];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        let payload = bytes.split_off(HEADER);
        let bytes: [u8; HEADER] = bytes.try_into().unwrap();
        let header: Header = zerocopy::transmute!(bytes);
        assert_eq!(header.length.get() as usize, payload.len());
        if self.recycles {
            self.give(1);
        }
        Some(Packet { header, payload })
    }

    /// The next packet of the device.
    pub fn receive(&mut self) -> Packet {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(packet) = self.try_receive() {
                return packet;
            }
            assert!(Instant::now() < deadline, "no packet came");
            std::thread::yield_now();
        }
    }

    /// The next packet, of this operation.
    pub fn expect(&mut self, operation: u16) -> Packet {
        let packet = self.receive();
        assert_eq!(packet.operation(), operation, "{packet:?}");
        packet
    }

    /// Asserts that nothing has come.
    pub fn expect_nothing(&mut self) {
        self.barrier();
        assert_eq!(self.try_receive(), None);
    }

    /// Sends a packet, once the device has taken enough of the earlier ones.
    pub fn send(&mut self, header: &Header, payload: &[u8]) {
        self.wait(|machine| machine.untaken() < SIZE);
        self.post(header, payload);
    }

    /// Sends a packet, for which there is a place in the ring.
    pub fn post(&mut self, header: &Header, payload: &[u8]) {
        let index = self.queues[TRANSMIT].available % SIZE;
        let address = SENT + SENT_ROOM * u64::from(index);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(payload);
        self.memory
            .write_slice(&bytes, GuestAddress(address))
            .unwrap();
        let length = u32::try_from(bytes.len()).unwrap();
        self.describe(TRANSMIT, index, (address, length, 0));
        self.offer(TRANSMIT, index);
    }

    /// Writes to guest memory.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    pub fn wait_needs_reset(&self) {
        self.wait(|machine| machine.register(STATUS) & status::DEVICE_NEEDS_RESET != 0);
    }

    pub fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "it did not come to that");
            std::thread::yield_now();
        }
    }

    pub fn statistics(&self) -> VsockStatistics {
        self.vsock.statistics()
    }

    /// The path of the device's socket, or of a listener's.
    pub fn path(&self, port: Option<u32>) -> PathBuf {
        let name = match port {
            Some(port) => format!("vsock_{port}"),
            None => "vsock".to_owned(),
        };
        self.directory.path().join(name)
    }

    /// A client on the host that has written this.
    pub fn client(&self, line: &str) -> UnixStream {
        let mut client = UnixStream::connect(self.path(None)).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(line.as_bytes()).unwrap();
        client
    }

    /// A listener on the host.
    pub fn listener(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.path(Some(port))).unwrap()
    }

    /// A client on the host, connected to a port of the guest.
    pub fn host_connects(&mut self, port: u32) -> (UnixStream, Stream) {
        let client = self.client(&format!("CONNECT {port}\n"));
        let request = self.expect(operation::REQUEST);
        let stream = Stream::answering(&request);
        self.send(&stream.header(self, operation::RESPONSE), &[]);
        assert_eq!(line(&client), format!("OK {}\n", stream.host_port));
        (client, stream)
    }

    /// The guest, connected to a listener of the host.
    pub fn guest_connects(
        &mut self,
        listener: &UnixListener,
        ports: (u32, u32),
    ) -> (UnixStream, Stream) {
        let stream = Stream::new(ports.0, ports.1);
        self.send(&stream.header(self, operation::REQUEST), &[]);
        self.expect(operation::RESPONSE);
        let (client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        (client, stream)
    }
}

fn at(queue: usize) -> u64 {
    QUEUES * (queue as u64 + 1)
}

/// The line that a client reads, byte by byte.
pub fn line(mut client: &UnixStream) -> String {
    let mut line = String::new();
    let mut byte = [0; 1];
    while !line.ends_with('\n') {
        client.read_exact(&mut byte).unwrap();
        line.push(char::from(byte[0]));
    }
    line
}

/// All that a client reads up to the end.
pub fn rest(client: &UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut reader = BufReader::new(client);
    loop {
        match reader.fill_buf().unwrap() {
            [] => return rest,
            bytes => {
                let count = bytes.len();
                rest.extend(bytes);
                reader.consume(count);
            }
        }
    }
}

/// The guest's end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub guest_port: u32,
    pub host_port: u32,
    /// Bytes that have left its buffer.
    pub forwarded: u32,
    /// Bytes that it has sent.
    pub sent: u32,
}

impl Stream {
    pub fn new(guest_port: u32, host_port: u32) -> Self {
        Self {
            guest_port,
            host_port,
            forwarded: 0,
            sent: 0,
        }
    }

    /// The end that a packet is for.
    pub fn answering(packet: &Packet) -> Self {
        let Header {
            source_port,
            destination_port,
            ..
        } = packet.header;
        Self::new(destination_port.get(), source_port.get())
    }

    /// A packet's header.
    pub fn header(&self, machine: &Machine, operation: u16) -> Header {
        Header {
            source_cid: CID.into(),
            destination_cid: HOST_CID.into(),
            source_port: self.guest_port.into(),
            destination_port: self.host_port.into(),
            kind: STREAM.into(),
            operation: operation.into(),
            buffer: machine.buffer.into(),
            forwarded: self.forwarded.into(),
            ..Header::default()
        }
    }

    pub fn send(&self, machine: &mut Machine, operation: u16) {
        machine.send(&self.header(machine, operation), &[]);
    }

    pub fn send_data(&mut self, machine: &mut Machine, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap();
        let header = Header {
            length: length.into(),
            ..self.header(machine, operation::DATA)
        };
        self.sent = self.sent.wrapping_add(length);
        machine.send(&header, bytes);
    }

    pub fn send_shutdown(&self, machine: &mut Machine, flags: u32) {
        let header = Header {
            flags: flags.into(),
            ..self.header(machine, operation::SHUTDOWN)
        };
        machine.send(&header, &[]);
    }
}
