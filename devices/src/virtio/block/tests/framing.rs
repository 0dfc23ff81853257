//! Valid requests, in every framing that the standard allows.

use super::driver::*;
use crate::block::model::access::Access;
use crate::block::model::request::{Durability, Operation};
use crate::virtio::device::VirtioDevice;

/// Compares contents, as the segments of a request are private.
fn contents(request: &crate::block::model::backend::HostRequest) -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    let length = usize::try_from(request.buffers.length()).unwrap();
    assert_eq!(request.buffers.write_to(&file, 0, 0), Ok(length));
    let mut bytes = vec![0; length];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_read_fills_the_buffer_and_says_how_much() {
    let mut machine = Setup::default().start();
    let (token, request) = machine.submit(2, IN, 7, 1024);
    assert_eq!(request.operation, Operation::Read { offset: 7 * 512 });
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0x5a; 1024], 0).unwrap();
    assert_eq!(request.buffers.read_from(&file, 0), Ok(1024));
    assert_eq!(machine.status(2), UNANSWERED);
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(head_of(2), 1025)]);
    assert_eq!(machine.status(2), OK);
    assert_eq!(machine.read(data_of(2), 1024), [0x5a; 1024]);
}

#[test]
fn a_write_and_a_flush_write_nothing_but_the_status() {
    let mut machine = Setup::default().start();
    machine.write(data_of(0), &[0xa5; 512]);
    let (token, request) = machine.submit(0, OUT, 63, 512);
    let operation = Operation::Write {
        offset: 63 * 512,
        durability: Durability::Cached,
    };
    assert_eq!(request.operation, operation);
    assert_eq!(contents(&request), [0xa5; 512]);
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(head_of(0), 1)]);

    let (token, request) = machine.submit(1, FLUSH, 0, 0);
    assert_eq!(request.operation, Operation::Flush);
    assert_eq!(request.buffers.length(), 0);
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(head_of(1), 1)]);
    assert_eq!([machine.status(0), machine.status(1)], [OK, OK]);
}

#[test]
fn a_driver_without_flush_gets_durable_writes() {
    let setup = Setup {
        features: VERSION_1,
        ..Setup::default()
    };
    let mut machine = setup.start();
    let (_, request) = machine.submit(0, OUT, 0, 512);
    let operation = Operation::Write {
        offset: 0,
        durability: Durability::Durable,
    };
    assert_eq!(request.operation, operation);
}

#[test]
fn the_serial_is_padded_or_cut_to_what_the_driver_has_room_for() {
    for (serial, id) in [
        ("", [0; 20]),
        ("D1", *b"D1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("exactly-twenty-bytes", *b"exactly-twenty-bytes"),
        ("more than twenty bytes of it", *b"more than twenty byt"),
    ] {
        let setup = Setup {
            serial,
            ..Setup::default()
        };
        let mut machine = setup.start();
        for (length, written) in [(20, 20), (4, 4), (64, 20)] {
            machine.fill(data_of(0), data_of(1), 0xee);
            machine.ask(0, GET_ID, 0, length);
            assert_eq!(machine.wait_used(1), [(0, written + 1)]);
            assert_eq!(machine.status(0), OK);
            let written = usize::try_from(written).unwrap();
            assert_eq!(machine.read(data_of(0), written), id[..written]);
            assert_eq!(machine.read(data_of(0) + written as u64, 1), [0xee]);
        }
    }
}

#[test]
fn the_header_may_be_split_and_share_its_descriptors() {
    let mut machine = Setup::default().start();
    machine.head(0, OUT, 5);
    let header = header_of(0);
    // The header's last four bytes lie right before the data.
    let joined = data_of(0);
    machine.write(joined, &machine.read(header + 12, 4));
    machine.write(joined + 4, &[0x11; 512]);
    machine.write(data_of(1), &[0x22; 512]);
    machine.ask_with(&[
        readable(header, 1),
        readable(header + 1, 0),
        readable(header + 1, 11),
        readable(joined, 4 + 300),
        readable(joined + 304, 212),
        readable(data_of(1), 512),
        Machine::tail(0),
    ]);
    let (token, request) = machine.backend.next();
    let operation = Operation::Write {
        offset: 5 * 512,
        durability: Durability::Cached,
    };
    assert_eq!(request.operation, operation);
    assert_eq!(contents(&request), [[0x11; 512], [0x22; 512]].concat());
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(0, 1)]);
    assert_eq!(machine.status(0), OK);
}

#[test]
fn the_status_may_share_its_descriptor_with_the_data() {
    let mut machine = Setup::default().start();
    let head = machine.head(0, IN, 0);
    machine.fill(data_of(0), data_of(1), UNANSWERED);
    // An empty part at the end is no place for a status.
    machine.ask_with(&[
        head,
        writable(data_of(0), 1000),
        writable(data_of(0) + 1000, 25),
        writable(data_of(3), 0),
    ]);
    let (token, request) = machine.backend.next();
    assert_eq!(request.buffers.length(), 1024);
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(0, 1025)]);
    assert_eq!(machine.read(data_of(0) + 1023, 3), [0xff, OK, 0xff]);
}

#[test]
fn an_indirect_table_may_follow_direct_descriptors() {
    let mut machine = Setup::default().start();
    let head = machine.head(0, IN, 3);
    let parts = [
        head,
        writable(data_of(0), 512),
        writable(data_of(1), 512),
        Machine::tail(0),
    ];
    for direct in 0..parts.len() {
        machine.place(TABLE, 0, &parts[..direct]);
        machine.place(INDIRECT_TABLE, 0, &parts[direct..]);
        let at = u16::try_from(direct).unwrap();
        if let Some(last) = at.checked_sub(1) {
            let Part(address, length, writes) = parts[usize::from(last)];
            let flags = NEXT | if writes { WRITE } else { 0 };
            machine.describe(TABLE, last, (address, length, flags, at));
        }
        let length = 16 * u32::from(4 - at);
        machine.describe(TABLE, at, (INDIRECT_TABLE, length, INDIRECT, 0));
        machine.offer(0);
        machine.kick();
        let (token, request) = machine.backend.next();
        assert_eq!(request.operation, Operation::Read { offset: 3 * 512 });
        assert_eq!(request.buffers.length(), 1024);
        machine.end(token, Ok(()));
        assert_eq!(machine.wait_used(1), [(0, 1025)]);
    }
}

#[test]
fn a_chain_may_be_as_long_as_the_queue() {
    let mut machine = Setup::default().start();
    let mut parts = vec![machine.head(0, OUT, 0)];
    parts.extend((0..62).map(|part| readable(data_of(0) + 512 * part, 512)));
    parts.push(Machine::tail(0));
    machine.ask_with(&parts);
    let (_, request) = machine.backend.next();
    assert_eq!(request.buffers.length(), 62 * 512);
}

#[test]
fn buffers_may_be_at_the_edges_of_memory() {
    let mut machine = Setup::default().start();
    machine.head(0, OUT, 0);
    let header = machine.read(header_of(0), 16);
    machine.write(MEMORY - 16, &header);
    let pattern: Vec<u8> = (0..=255).cycle().take(512).collect();
    machine.write(SEAM - 256, &pattern);
    machine.ask_with(&[
        readable(MEMORY - 16, 16),
        readable(SEAM - 256, 512),
        Machine::tail(0),
    ]);
    let (token, request) = machine.backend.next();
    assert_eq!(contents(&request), pattern);
    machine.end(token, Ok(()));
    machine.wait_used(1);

    let head = machine.head(0, IN, 0);
    machine.write(MEMORY - 1, &[UNANSWERED]);
    machine.ask_with(&[head, writable(data_of(0), 512), writable(MEMORY - 1, 1)]);
    let (token, _) = machine.backend.next();
    machine.end(token, Ok(()));
    assert_eq!(machine.wait_used(1), [(0, 513)]);
    assert_eq!(machine.read(MEMORY - 1, 1), [OK]);
}

#[test]
fn completions_may_overtake_each_other() {
    let mut machine = Setup::default().start();
    let tokens: Vec<_> = (0..5u16)
        .map(|slot| machine.submit(slot, IN, u64::from(slot), 512).0)
        .collect();
    for slot in [3u16, 0, 4, 2, 1] {
        machine.end(tokens[usize::from(slot)], Ok(()));
        assert_eq!(machine.wait_used(1), [(head_of(slot), 513)]);
    }
}

#[test]
fn the_rings_wrap_around_their_indices() {
    let setup = Setup {
        queue_size: 4,
        ..Setup::default()
    };
    let mut machine = setup.start();
    machine.backend.end_at_once(Ok(()));
    for round in 0..70_000u32 {
        machine.queue(0, FLUSH, 0, 0);
        if round % 4 == 3 {
            machine.kick();
            machine.wait_used(4);
        }
    }
    assert_eq!(u32::from(machine.used_index()), 70_000 % 65_536);
}

#[test]
fn the_configuration_space_says_what_the_disk_is() {
    let machine = Setup::default().stopped();
    let read = |offset, length: usize| {
        let mut data = vec![0xaa; length];
        machine.disk.read_config(offset, &mut data);
        data
    };
    assert_eq!(read(0, 8), 64u64.to_le_bytes());
    assert_eq!(read(12, 4), 254u32.to_le_bytes());
    assert_eq!(read(20, 4), 512u32.to_le_bytes());
    assert_eq!(read(22, 8), [0; 8]);
    assert_eq!(read(u64::MAX, 2), [0; 2]);
}

#[test]
fn only_a_read_only_disk_says_that_it_is() {
    const READ_ONLY: u64 = 1 << 5;
    for (access, bit) in [(Access::ReadWrite, 0), (Access::ReadOnly, READ_ONLY)] {
        let setup = Setup {
            access,
            ..Setup::default()
        };
        assert_eq!(setup.stopped().disk.features() & READ_ONLY, bit);
    }
}
