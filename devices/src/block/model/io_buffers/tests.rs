//! Guest memory as iovecs.

use vm_memory::{Bytes, GuestAddress};

use super::*;

fn memory() -> Arc<GuestMemoryMmap> {
    let regions = [
        (GuestAddress(0), 0x1_0000),
        (GuestAddress(0x1_0000), 0x1_0000),
        (GuestAddress(0x10_0000), 0x1_0000),
    ];
    Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap())
}

fn segment(address: u64, length: u32) -> Segment {
    Segment {
        address: GuestAddress(address),
        length,
    }
}

#[test]
fn data_crosses_segments_and_regions_in_order() {
    let memory = memory();
    let text: Vec<u8> = (0..=252u8).cycle().take(9000).collect();
    memory
        .write_slice(&text[..6000], GuestAddress(0x1_0000 - 3000))
        .unwrap();
    memory
        .write_slice(&text[6000..], GuestAddress(0x10_0000))
        .unwrap();
    let buffers = IoBuffers::new(
        &memory,
        [segment(0x1_0000 - 3000, 6000), segment(0x10_0000, 3000)],
    )
    .unwrap();
    assert_eq!(buffers.length(), 9000);
    let file = tempfile::tempfile().unwrap();
    assert_eq!(buffers.write_to(&file, 512, libc::RWF_DSYNC), Ok(9000));
    let one_byte = [segment(0x20, 1), segment(0x30, 0)];
    let many = (0..3000u32).map(|i| segment(u64::from(i) * 3, 3));
    let read = IoBuffers::new(&memory, one_byte.into_iter().chain(many)).unwrap();
    // One call takes `MAX_PIECES` iovecs, and the rest remains.
    assert_eq!(read.read_from(&file, 511), Ok(1 + 3 * (MAX_PIECES - 1)));
    let mut rest = read.after(1 + 3 * (MAX_PIECES - 1) + 1);
    assert_eq!(rest.length(), 9001 - 2 - 3 * (MAX_PIECES as u64 - 1));
    let mut at = 512 + 3 * (i64::try_from(MAX_PIECES).unwrap() - 1) + 1;
    while rest.length() > 0 {
        let moved = rest.read_from(&file, at).unwrap();
        at += i64::try_from(moved).unwrap();
        rest = rest.after(moved);
    }
    assert_eq!(rest.pieces().1, 0);
    let mut back = vec![0; 9000];
    memory.read_slice(&mut back, GuestAddress(0)).unwrap();
    // The byte that was skipped is the one that was not read again.
    back[3 * (MAX_PIECES - 1)] = text[3 * (MAX_PIECES - 1)];
    assert!(back == text);
}

#[test]
fn a_segment_outside_memory_is_refused_by_name() {
    let memory = memory();
    for outside in [
        segment(0x2_0000, 1),
        segment(0x1_ffff, 2),
        segment(u64::MAX, 2),
        segment(0, u32::MAX),
    ] {
        let refused = IoBuffers::new(&memory, [segment(0, 1), outside]);
        assert_eq!(refused.unwrap_err(), OutsideMemory(outside));
    }
}
