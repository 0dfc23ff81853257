//! A vsock device under any driver, any clients and any listeners.
//!
//! Every stream carries consecutive bytes, so that a loss, a repetition or a mixture of streams is seen.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::IntoBytes;

use super::deeds::Choices;
use super::memory;
use crate::bus::BusDevice;
use crate::life_cycle::{LifeCycle, Run};
use crate::thread::ThreadStart;
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::RingFeatures;
use crate::virtio::transport::mmio::{MmioTransport, QUEUE_NOTIFY};
use crate::virtio::vsock::packet::{HEADER, HOST_CID, Header, STREAM, operation, shutdown};
use crate::virtio::vsock::table::Bounds;
use crate::virtio::vsock::worker::{RECEIVE, TRANSMIT};
use crate::virtio::vsock::{Connector, GuestCid, VirtioVsock};

const CID: u64 = 3;

/// Small, so that inputs reach them; and no deadline comes within an input's time.
const BOUNDS: Bounds = Bounds {
    connections: 4,
    handshakes: 2,
    replies: 4,
    opening: Duration::from_secs(3600),
    closing: Duration::from_secs(3600),
    farewell: Duration::ZERO,
};

/// Descriptors of each queue: two for each slot.
const SIZE: u16 = 32;
const SLOTS: u16 = SIZE / 2;

/// Where a queue's parts are.
const QUEUE_ROOM: u64 = 0x1000;
const AVAILABLE: u64 = 0x400;
const USED: u64 = 0x600;

/// The buffers of the receive queue, some of which span the seam, and those of the transmit queue.
const RECEIVED: u64 = memory::SEAM - 0x1400;
const RECEIVED_ROOM: u64 = 0x280;
const SENT: u64 = 0xa000;
const SENT_ROOM: u64 = 0x140;

const STATUS: u64 = 0x070;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A connection's ports: the host's, the guest's.
type Ports = (u32, u32);

/// Whatever guest and host do, the device does not panic, accesses only guest memory, keeps to credit and to its bounds,
/// passes every byte on once and in order, and works after a reset.
pub fn vsock(input: &[u8]) {
    ignore_broken_pipes();
    let mut choices = Choices::new(input);
    let mut machine = Machine::new(&mut choices);
    while !choices.is_empty() {
        machine.commit(&mut choices);
    }
    machine.recover();
}

/// The host's ends of the guest's connections.
type Accepted = Arc<Mutex<Vec<UnixStream>>>;

/// Refuses every fourth port.
struct Listeners(Accepted);

impl Connector for Listeners {
    fn connect(&mut self, port: u32) -> io::Result<UnixStream> {
        if port.is_multiple_of(4) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        self.0.lock().unwrap().push(theirs);
        Ok(ours)
    }
}

/// Consecutive bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Sequence(Option<u8>);

impl Sequence {
    fn next(&mut self, length: usize) -> Vec<u8> {
        let mut next = || {
            let byte = self.0.unwrap_or_default().wrapping_add(1);
            self.0 = Some(byte);
            byte
        };
        (0..length).map(|_| next()).collect()
    }

    /// The bytes follow those before, which may be any at first.
    fn check(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(before) = self.0 {
                assert_eq!(*byte, before.wrapping_add(1), "{bytes:?}");
            }
            self.0 = Some(*byte);
        }
    }
}

/// A socket of the host.
struct Client {
    socket: UnixStream,
    /// Whether the line of the device is still to be read.
    awaits_line: bool,
    sent: Sequence,
    received: Sequence,
}

impl Client {
    fn new(socket: UnixStream, awaits_line: bool) -> Self {
        Self {
            socket,
            awaits_line,
            sent: Sequence::default(),
            received: Sequence::default(),
        }
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes).unwrap_or_default();
        let mut read = &bytes[..count];
        if self.awaits_line && count > 0 {
            assert!(read.starts_with(b"OK "), "{read:?}");
            let end = read.iter().position(|byte| *byte == b'\n').unwrap();
            read = &read[end + 1..];
            self.awaits_line = false;
        }
        self.received.check(read);
        read.len()
    }

    fn write(&mut self, length: usize) {
        let before = self.sent;
        let bytes = self.sent.next(length);
        let count = self.socket.write(&bytes).unwrap_or_default();
        self.sent = before;
        self.sent.next(count);
    }
}

/// A socket of the guest.
#[derive(Debug, Clone, Copy, Default)]
struct Stream {
    sent: Sequence,
    received: Sequence,
    /// Bytes received since the connection was made, and those that the device was told have left the buffer.
    bytes: u32,
    told: u32,
    /// The guest lies about its credit.
    lies: bool,
}

struct Machine {
    transport: MmioTransport,
    vsock: Arc<VirtioVsock>,
    memory: Arc<GuestMemoryMmap>,
    address: SocketAddr,
    accepted: Accepted,
    clients: Vec<Client>,
    streams: BTreeMap<Ports, Stream>,
    offered: [u16; 3],
    used: [u16; 3],
    /// The guest's buffer of each stream.
    buffer: u32,
    /// The rings have been written to at random: nothing is to be learned from them.
    is_wild: bool,
    is_paused: bool,
    run: Run,
}

impl Machine {
    fn new(choices: &mut Choices<'_>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let memory = memory::cleared();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("faultvisor-fuzzing-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let accepted = Accepted::default();
        let vsock = VirtioVsock::with_bounds(
            GuestCid::new(3).unwrap(),
            BOUNDS,
            listener,
            Box::new(Listeners(accepted.clone())),
            memory.clone(),
            &ThreadStart::default(),
        );
        let vsock = Arc::new(vsock.unwrap());
        let line = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let mut machine = Self {
            transport: MmioTransport::new(vsock.clone(), RingFeatures::default(), line),
            vsock,
            memory,
            address,
            accepted,
            clients: Vec::new(),
            streams: BTreeMap::new(),
            offered: [0; 3],
            used: [0; 3],
            buffer: [1, 100, 1000, 1 << 18][usize::from(choices.below(4))],
            is_wild: false,
            is_paused: false,
            run: Run(0),
        };
        machine.initialize(choices.byte() & 1 != 0);
        machine.resume();
        (0..choices.below(16)).for_each(|_| machine.give(RECEIVED_ROOM, 0));
        machine
    }

    /// Performs a deed, and lets the device handle it.
    fn commit(&mut self, choices: &mut Choices<'_>) {
        match choices.below(20) {
            0..=7 => self.packet(choices),
            8 => {
                let length = [RECEIVED_ROOM, 44, 45, 60, 300][usize::from(choices.below(5))];
                (0..=choices.below(4)).for_each(|_| self.give(length, choices.byte().into()));
            }
            9 => {
                let lines = ["CONNECT 5\n", "CONNECT 6\nxyz", "CONN", "\n", ""];
                self.connect(lines[usize::from(choices.below(5))]);
            }
            10 | 11 => {
                let length = usize::from(choices.byte()) * usize::from(choices.below(40));
                if let Some(client) = self.client(choices) {
                    client.write(length);
                }
            }
            12 => {
                if let Some(client) = self.client(choices) {
                    client.read();
                }
            }
            13 => {
                let how = choices.below(4);
                let count = self.clients.len().max(1);
                let index = usize::from(choices.byte()) % count;
                if let Some(client) = self.clients.get(index) {
                    let directions = [Shutdown::Write, Shutdown::Read, Shutdown::Both];
                    match directions.get(usize::from(how)) {
                        Some(direction) => drop(client.socket.shutdown(*direction)),
                        None => drop(self.clients.swap_remove(index)),
                    }
                }
            }
            14 if self.is_paused => self.resume(),
            14 => {
                self.is_paused = true;
                self.transport.pause(Box::new(|| ()));
            }
            15 => self.restart(choices.byte() & 1 != 0),
            16 => {
                self.is_wild = true;
                let (queue, index) = (choices.below(3).into(), choices.word() % (SIZE + 1));
                let address = [u64::from(choices.word()), RECEIVED, SENT, u64::MAX - 7];
                let address = address[usize::from(choices.below(4))];
                let (flags, next) = (choices.word() & 7, choices.word() % SIZE);
                let descriptor = Descriptor::new(address, choices.word().into(), flags, next);
                let place = at(queue) + 16 * u64::from(index);
                let _ = self.memory.write_obj(descriptor, GuestAddress(place));
                self.offer(queue, index);
            }
            17 => {
                self.is_wild = true;
                let bytes = choices.quad().to_le_bytes();
                let place = u64::from(choices.word() % 0x3000);
                let _ = self.memory.write(&bytes, GuestAddress(place));
            }
            18 => {
                let offset = u64::from(choices.byte()) * 4;
                if offset != 0x044 && (0x030..0x0b0).contains(&offset) {
                    // A queue's place may be another then.
                    self.is_wild = true;
                }
                self.set_register(offset, choices.word().into());
            }
            _ => self.set_register(QUEUE_NOTIFY, choices.below(4).into()),
        }
        self.settle();
    }

    /// Waits until the device has handled everything, and reads its packets.
    fn settle(&mut self) {
        // An event of a socket may be in the batch behind that of the message.
        for _ in 0..3 {
            drop(self.vsock.save());
        }
        for socket in self.accepted.lock().unwrap().drain(..) {
            self.clients.push(Client::new(socket, false));
        }
        let statistics = self.vsock.statistics();
        assert!(statistics.connections <= BOUNDS.connections as u64);
        while !self.is_wild
            && let Some(packet) = self.receive()
        {
            self.check(&packet);
        }
    }

    fn client(&mut self, choices: &mut Choices<'_>) -> Option<&mut Client> {
        let count = self.clients.len().max(1);
        self.clients.get_mut(usize::from(choices.byte()) % count)
    }

    fn connect(&mut self, line: &str) {
        // A full backlog would have to be waited for.
        if self.clients.len() < 40 {
            let socket = UnixStream::connect_addr(&self.address).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = (&socket).write(line.as_bytes());
            let mut client = Client::new(socket, true);
            if let Some(bytes) = line.strip_prefix("CONNECT 6\n") {
                client.sent.check(bytes.as_bytes());
            }
            self.clients.push(client);
        }
    }

    /// Sends a packet, mostly a valid one.
    fn packet(&mut self, choices: &mut Choices<'_>) {
        let known = self.streams.len().max(1);
        let chosen = usize::from(choices.byte()) % (known + 2);
        let ports = match self.streams.keys().nth(chosen) {
            Some(ports) => *ports,
            None => (choices.below(6).into(), choices.below(3).into()),
        };
        let operation = match choices.below(12) {
            0..=6 => u16::from(choices.below(8)),
            7..=9 => operation::DATA,
            10 => operation::RESPONSE,
            _ => operation::CREDIT_UPDATE,
        };
        let oddity = choices.byte();
        let lies = oddity == 255;
        let stream = self.streams.entry(ports).or_default();
        if operation == operation::REQUEST {
            *stream = Stream::default();
        }
        stream.lies |= lies;
        let mut payload = Vec::new();
        if operation == operation::DATA {
            let length = usize::from(choices.byte()) + 1;
            payload = stream.sent.next(length.min(250));
        }
        stream.told = stream.bytes;
        let header = Header {
            source_cid: if oddity == 254 { 4 } else { CID }.into(),
            destination_cid: if oddity == 253 { 9 } else { HOST_CID }.into(),
            source_port: ports.1.into(),
            destination_port: ports.0.into(),
            length: match oddity {
                252 => u32::from(choices.word()),
                _ => u32::try_from(payload.len()).unwrap(),
            }
            .into(),
            kind: if oddity == 251 { 2 } else { STREAM }.into(),
            operation: operation.into(),
            flags: u32::from(choices.below(4)).into(),
            buffer: self.buffer.into(),
            forwarded: match lies {
                true => u32::from(choices.word()),
                false => stream.told,
            }
            .into(),
        };
        let is_dropped = (251..=254).contains(&oddity);
        if is_dropped && let Some(stream) = self.streams.get_mut(&ports) {
            // Its bytes are not part of the stream.
            let undone = u8::try_from(payload.len()).unwrap();
            stream.sent.0 = stream.sent.0.map(|last| last.wrapping_sub(undone));
        }
        self.send(&header, &payload, choices.byte().into());
    }

    fn send(&mut self, header: &Header, payload: &[u8], split: u32) {
        let used = self.word(at(TRANSMIT) + USED + 2);
        if self.offered[TRANSMIT].wrapping_sub(used) >= SLOTS {
            return;
        }
        let slot = self.offered[TRANSMIT] % SLOTS;
        let address = SENT + SENT_ROOM * u64::from(slot);
        let bytes = [header.as_bytes(), payload].concat();
        self.memory
            .write_slice(&bytes, GuestAddress(address))
            .unwrap();
        self.offer_buffer(TRANSMIT, slot, (address, bytes.len() as u64, split, 0));
    }

    /// Gives a buffer for a packet to the device, in two parts if `split` is in it.
    fn give(&mut self, length: u64, split: u32) {
        if self.offered[RECEIVE].wrapping_sub(self.used[RECEIVE]) < SLOTS {
            let slot = self.offered[RECEIVE] % SLOTS;
            let address = RECEIVED + RECEIVED_ROOM * u64::from(slot);
            self.offer_buffer(RECEIVE, slot, (address, length, split, WRITE));
        }
    }

    fn offer_buffer(&mut self, queue: usize, slot: u16, buffer: (u64, u64, u32, u16)) {
        let (address, length, split, flags) = buffer;
        let length = u32::try_from(length).unwrap();
        let head = 2 * slot;
        let split = split.min(length);
        let both = [
            Descriptor::new(address, split, flags | NEXT, head + 1),
            Descriptor::new(address + u64::from(split), length - split, flags, 0),
        ];
        for (index, descriptor) in (head..).zip(both) {
            let place = at(queue) + 16 * u64::from(index);
            self.memory
                .write_obj(descriptor, GuestAddress(place))
                .unwrap();
        }
        self.offer(queue, head);
    }

    fn offer(&mut self, queue: usize, head: u16) {
        let ring = at(queue) + AVAILABLE;
        let next = &mut self.offered[queue];
        let entry = ring + 4 + 2 * u64::from(*next % SIZE);
        *next = next.wrapping_add(1);
        let index = *next;
        self.memory.write_obj(head, GuestAddress(entry)).unwrap();
        self.memory
            .write_obj(index, GuestAddress(ring + 2))
            .unwrap();
        self.set_register(QUEUE_NOTIFY, u32::try_from(queue).unwrap());
    }

    fn word(&self, address: u64) -> u16 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    /// The next packet of the device.
    fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let ring = at(RECEIVE) + USED;
        let used = self.used[RECEIVE];
        if self.word(ring + 2) == used {
            return None;
        }
        let entry = ring + 4 + 8 * u64::from(used % SIZE);
        let slot = u64::from(self.word(entry) / 2);
        let length = usize::from(self.word(entry + 4));
        self.used[RECEIVE] = used.wrapping_add(1);
        let mut bytes = vec![0; length];
        let address = RECEIVED + RECEIVED_ROOM * slot;
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        let payload = bytes.split_off(HEADER);
        let bytes: [u8; HEADER] = bytes.try_into().unwrap();
        Some((zerocopy::transmute!(bytes), payload))
    }

    fn check(&mut self, (header, payload): &(Header, Vec<u8>)) {
        assert_eq!(header.length.get() as usize, payload.len());
        let ports = (header.source_port.get(), header.destination_port.get());
        let buffer = self.buffer;
        match header.operation.get() {
            operation::REQUEST => {
                self.streams.insert(ports, Stream::default());
            }
            operation::DATA => {
                assert!(!payload.is_empty());
                let stream = self.streams.get_mut(&ports).unwrap();
                stream.received.check(payload);
                stream.bytes += u32::try_from(payload.len()).unwrap();
                assert!(
                    stream.lies || stream.bytes - stream.told <= buffer,
                    "{stream:?} of {buffer}"
                );
            }
            operation::RESET => {
                assert!(payload.is_empty());
                let stream = self.streams.entry(ports).or_default();
                *stream = Stream::default();
            }
            operation::SHUTDOWN => assert_ne!(header.flags.get() & shutdown::BOTH, 0),
            operation::RESPONSE | operation::CREDIT_UPDATE | operation::CREDIT_REQUEST => {}
            other => panic!("operation {other}"),
        }
    }

    fn set_register(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    fn resume(&mut self) {
        self.is_paused = false;
        self.run = Run(self.run.0 + 1);
        self.transport.resume(self.run);
    }

    fn reset(&mut self) {
        self.set_register(STATUS, 0);
        let zeroes = [0; 0x3000];
        self.memory.write_slice(&zeroes, GuestAddress(0)).unwrap();
        (self.offered, self.used) = ([0; 3], [0; 3]);
        self.streams.clear();
        self.is_wild = false;
    }

    fn restart(&mut self, event_index: bool) {
        self.reset();
        self.initialize(event_index);
    }

    /// Negotiates, sets up the queues, and sets DRIVER_OK.
    fn initialize(&mut self, event_index: bool) {
        self.set_register(STATUS, 3);
        for (half, features) in [(0, 1 | 1 << 28 | u32::from(event_index) << 29), (1, 1)] {
            self.set_register(0x024, half);
            self.set_register(0x020, features);
        }
        self.set_register(STATUS, 11);
        for queue in 0..3 {
            self.set_register(0x030, u32::try_from(queue).unwrap());
            self.set_register(0x038, SIZE.into());
            for (register, part) in [(0x080, 0), (0x090, AVAILABLE), (0x0a0, USED)] {
                let address = at(queue) + part;
                self.set_register(register, u32::try_from(address).unwrap());
                self.set_register(register + 4, 0);
            }
            self.set_register(0x044, 1);
        }
        self.set_register(STATUS, 15);
    }

    /// After a reset the device does not write to guest memory; initialised again, it connects both sides.
    fn recover(mut self) {
        self.reset();
        if self.is_paused {
            self.resume();
        }
        self.clients.clear();
        self.accepted.lock().unwrap().clear();
        let before = memory::contents(&self.memory);
        for queue in 0..3 {
            self.set_register(QUEUE_NOTIFY, queue);
        }
        self.settle();
        assert!(memory::contents(&self.memory) == before);
        assert_eq!(self.vsock.statistics().connections, 0);
        self.initialize(true);
        self.give(RECEIVED_ROOM, 0);
        self.connect("CONNECT 6\nxyz");
        self.settle();
        let host_port = self.streams.keys().next().unwrap().0;
        let ports = (host_port, 6);
        assert!(self.streams.contains_key(&ports));
        self.give(RECEIVED_ROOM, 50);
        let header = Header {
            source_cid: CID.into(),
            destination_cid: HOST_CID.into(),
            source_port: 6.into(),
            destination_port: host_port.into(),
            kind: STREAM.into(),
            operation: operation::RESPONSE.into(),
            buffer: 100.into(),
            ..Header::default()
        };
        self.buffer = 100;
        self.send(&header, &[], 0);
        let data = Header {
            operation: operation::DATA.into(),
            length: 3.into(),
            ..header
        };
        self.send(&data, b"abc", 44);
        self.settle();
        assert_eq!(self.streams[&ports].bytes, 3);
        assert_eq!(self.clients[0].read(), 3);
        assert_eq!(self.vsock.statistics().connections, 1);
    }
}

fn at(queue: usize) -> u64 {
    QUEUE_ROOM * queue as u64
}

/// The program does so at its start; a fuzz target does not begin in Rust.
#[expect(unsafe_code, reason = "signal(2) has no safe form")]
fn ignore_broken_pipes() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
