use std::fs;
use std::io::Write;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::NamedTempFile;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::*;
use crate::parallel::Threads;

const MIB: u64 = 1 << 20;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// An ELF file with 16 bytes of code and `memory` bytes at 16 MiB, and a segment for a note at 0xc0.
fn elf_image(memory: u64) -> Vec<u8> {
    let mut image = vec![0; 0x200];
    put(&mut image, 0, b"\x7fELF\x02\x01\x01");
    put(&mut image, 16, &[2, 0, 62, 0, 1]);
    put(&mut image, 24, &(16 * MIB).to_le_bytes());
    put(&mut image, 32, &64u64.to_le_bytes());
    put(&mut image, 52, &[64, 0, 56, 0, 2]);
    // PT_LOAD: offset, physical address, sizes.
    put(&mut image, 64, &[1]);
    put(&mut image, 72, &0x100u64.to_le_bytes());
    put(&mut image, 88, &(16 * MIB).to_le_bytes());
    put(&mut image, 96, &16u64.to_le_bytes());
    put(&mut image, 104, &memory.to_le_bytes());
    put(&mut image, 0x100, &[0x90; 16]);
    image
}

/// The same with Xen's note, which names 16 MiB + 4.
fn pvh_image() -> Vec<u8> {
    let mut image = elf_image(4096);
    put(&mut image, 120, &[4]);
    put(&mut image, 128, &0xc0u64.to_le_bytes());
    put(&mut image, 120 + 32, &20u64.to_le_bytes());
    put(&mut image, 0xc0, &[4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]);
    put(&mut image, 0xcc, b"Xen\0\x04\0\0\x01");
    image
}

/// A bzImage with one setup sector and 1 KiB of code.
fn bzimage() -> Vec<u8> {
    let mut image = vec![0x90; 1024 + 1024];
    image[..1024].fill(0);
    image[0x1f1] = 1;
    put(&mut image, 0x1f4, &64u32.to_le_bytes());
    put(&mut image, 0x1fe, &[0x55, 0xaa]);
    put(&mut image, 0x202, b"HdrS");
    put(&mut image, 0x206, &0x020fu16.to_le_bytes());
    image[0x211] = 1;
    put(&mut image, 0x22c, &0x7fff_ffffu32.to_le_bytes());
    image[0x236] = 1;
    put(&mut image, 0x24c, &512u32.to_le_bytes());
    put(&mut image, 0x258, &(16 * MIB).to_le_bytes());
    put(&mut image, 0x260, &(2 * MIB).to_le_bytes()[..4]);
    image
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn memory() -> Arc<GuestMemoryMmap> {
    Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 32 << 20)]).unwrap())
}

fn load(file: &NamedTempFile, memory: &Arc<GuestMemoryMmap>) -> Result<Placed, KernelError> {
    load_again(&Kernel::open(file.path())?, memory)
}

fn load_again(kernel: &Kernel, memory: &Arc<GuestMemoryMmap>) -> Result<Placed, KernelError> {
    let (placed, transfers) = kernel.place(memory, 32 * MIB)?;
    let made = Transfers::make(&[transfers], Threads::up_to(1));
    made.map_err(|failed| kernel.unreadable(failed.source))?;
    Ok(placed)
}

fn refusal(bytes: &[u8]) -> String {
    let file = file(bytes);
    let text = load(&file, &memory()).unwrap_err().to_string();
    let name = format!("kernel '{}' ", file.path().display());
    text.strip_prefix(&name).unwrap_or(&text).to_owned()
}

#[test]
fn an_elf_file_starts_where_its_header_says() {
    let memory = memory();
    let loaded = load(&file(&elf_image(4096)), &memory).unwrap();
    assert_eq!(loaded.entry, Entry::Linux64(16 * MIB));
    assert_eq!(
        (loaded.end, loaded.initrd_limit),
        (16 * MIB + 4096, 32 * MIB)
    );
    let code: u64 = memory.read_obj(GuestAddress(16 * MIB + 8)).unwrap();
    assert_eq!(code, 0x9090_9090_9090_9090);
}

#[test]
fn an_elf_file_with_a_note_of_xens_starts_by_pvh() {
    let loaded = load(&file(&pvh_image()), &memory()).unwrap();
    assert_eq!(loaded.entry, Entry::Pvh(16 * MIB + 4));
    // Position-independent as other kernels may be.
    let mut image = pvh_image();
    image[16] = 3;
    let loaded = load(&file(&image), &memory()).unwrap();
    assert_eq!(loaded.entry, Entry::Pvh(16 * MIB + 4));
    // A note of another type says nothing.
    image[16] = 2;
    image[0xc8] = 17;
    let loaded = load(&file(&image), &memory()).unwrap();
    assert_eq!(loaded.entry, Entry::Linux64(16 * MIB));
}

#[test]
fn a_bzimage_starts_at_its_64_bit_entry_and_says_how_high_an_initrd_may_lie() {
    let loaded = load(&file(&bzimage()), &memory()).unwrap();
    assert_eq!(loaded.entry, Entry::Linux64(MIB + 0x200));
    assert_eq!((loaded.end, loaded.initrd_limit), (18 * MIB, 32 * MIB));
    let mut image = bzimage();
    put(&mut image, 0x22c, &(20u32 << 20).to_le_bytes());
    let loaded = load(&file(&image), &memory()).unwrap();
    assert_eq!(loaded.initrd_limit, 20 * MIB + 1);
}

#[test]
fn a_file_that_is_not_a_kernel_is_called_by_its_format() {
    let mut ext4 = vec![0; 0x1000];
    put(&mut ext4, 0x438, b"\x53\xef");
    let mut mbr = vec![0; 512];
    put(&mut mbr, 510, b"\x55\xaa");
    let mut arm64 = vec![0; 0x100];
    put(&mut arm64, 0, b"MZ");
    put(&mut arm64, 0x38, b"ARMd");
    for (bytes, expected) in [
        (&b""[..], "is empty"),
        (
            b"\x1f\x8b\x08",
            "is compressed by gzip: unpack it first, by 'gzip -dc'",
        ),
        (
            b"\xfd7zXZ\0",
            "is compressed by xz: unpack it first, by 'xz -dc'",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "is compressed by zstd: unpack it first, by 'zstd -dc'",
        ),
        (
            b"\x04\x22\x4d\x18",
            "is compressed by LZ4: unpack it first, by 'lz4 -dc'",
        ),
        (
            b"\x02\x21\x4c\x18",
            "is compressed by LZ4: unpack it first, by 'lz4 -dc'",
        ),
        (
            b"BZh9",
            "is compressed by bzip2: unpack it first, by 'bzip2 -dc'",
        ),
        (
            b"\x5d\0\0\x80",
            "is compressed by LZMA: unpack it first, by 'xz -dc --format=lzma'",
        ),
        (&arm64, "is for arm64, not for x86-64"),
        (
            b"MZ\0\0zimg",
            "is a kernel that only EFI unpacks: boot the image that it was made from",
        ),
        (b"070701000", "is an initramfs: give it with --initrd"),
        (b"QFI\xfb", "is a disk (qcow2): give it with --drive"),
        (&ext4, "is a disk (ext4): give it with --drive"),
        (&mbr, "is a disk (MBR): give it with --drive"),
        (
            b"!<arch>\ndebian-binary",
            "is a Debian package: boot the kernel that is in it",
        ),
        (b"#!/bin/sh\n", "is a script"),
        (b"a kernel\n", "is a text file"),
        (&[0; 4096], "is neither a bzImage nor an x86-64 ELF vmlinux"),
    ] {
        assert_eq!(refusal(bytes), expected);
    }
    assert!(refusal(b"MZ\x90\0").starts_with("is an EFI program: "));
}

#[test]
fn an_elf_file_that_is_not_a_kernel_is_described() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut image = elf_image(4096);
        put(&mut image, at, bytes);
        refusal(&image)
    };
    assert_eq!(
        changed(4, &[1]),
        "is a 32-bit ELF file, and only 64-bit ones are booted"
    );
    assert_eq!(
        changed(5, &[2]),
        "is for a big-endian machine, not for x86-64"
    );
    assert_eq!(changed(18, &[183]), "is for arm64, not for x86-64");
    assert_eq!(changed(18, &[99]), "is for another machine, not for x86-64");
    assert_eq!(
        changed(16, &[1]),
        "is an object file or a kernel module, not a linked kernel"
    );
    let program = "is an ordinary program or a shared library, not a kernel";
    assert_eq!(changed(16, &[3]), program);
    assert_eq!(changed(120, &[3]), program);
    assert_eq!(changed(16, &[4]), "is a core dump, not a kernel");
}

#[test]
fn an_elf_file_with_wrong_headers_is_refused() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut image = elf_image(4096);
        put(&mut image, at, bytes);
        refusal(&image)
    };
    let cut =
        |expected| format!("is cut short: it has 512 bytes, and its header speaks of {expected}");
    assert_eq!(changed(96, &4096u64.to_le_bytes()), cut(0x1100u64));
    assert_eq!(changed(72, &u64::MAX.to_le_bytes()), cut(u64::MAX));
    assert_eq!(changed(32, &401u64.to_le_bytes()), cut(401 + 2 * 56));
    assert_eq!(
        changed(88, &(MIB - 1).to_le_bytes()),
        "is linked to lie below 1 MiB"
    );
    assert_eq!(
        changed(88, &(3u64 << 30).to_le_bytes()),
        "is linked to end at 0xc0001000, above all memory that there can be below 4 GiB"
    );
    let damaged = |what: &str| format!("is damaged: {what}");
    assert_eq!(
        changed(24, &(17 * MIB).to_le_bytes()),
        damaged("its entry point is in none of its segments")
    );
    assert_eq!(
        changed(104, &1u64.to_le_bytes()),
        damaged("a segment is longer than its memory")
    );
    assert_eq!(changed(64, &[0]), damaged("it has nothing to load"));
    assert_eq!(
        changed(56, &[0xff, 0xff]),
        damaged("it has more than 128 program headers")
    );
    let mut overlapping = elf_image(4096);
    overlapping.copy_within(64..120, 120);
    assert_eq!(refusal(&overlapping), damaged("its segments overlap"));
    let mut notes = pvh_image();
    put(&mut notes, 120 + 32, &(65u64 << 10).to_le_bytes());
    assert_eq!(refusal(&notes), damaged("it has more than 64 KiB of notes"));
    assert_eq!(
        refusal(&elf_image(0)[..40]),
        "is cut short: it has 40 bytes, and its header speaks of 64"
    );
}

#[test]
fn a_bzimage_that_cannot_start_says_why() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut image = bzimage();
        put(&mut image, at, bytes);
        refusal(&image)
    };
    assert_eq!(
        changed(0x236, &[0]),
        "has no 64-bit entry point: it is a 32-bit kernel"
    );
    assert_eq!(
        changed(0x211, &[0]),
        "is a zImage, and only a bzImage lies above 1 MiB"
    );
    assert_eq!(
        changed(0x206, &0x020au16.to_le_bytes()),
        "speaks boot protocol 2.10, and only 2.12 and later (Linux 3.8) start in 64-bit mode"
    );
    assert_eq!(
        changed(0x1f4, &66u32.to_le_bytes()),
        "is cut short: it has 2048 bytes, and its header speaks of 2065"
    );
    assert_eq!(
        changed(0x24c, &u32::MAX.to_le_bytes()),
        "is cut short: it has 2048 bytes, and its header speaks of 4294968319"
    );
    assert_eq!(
        refusal(&bzimage()[..0x230]),
        "is cut short: it has 560 bytes, and its header speaks of 616"
    );
    assert_eq!(
        changed(0x258, &u64::MAX.to_le_bytes()),
        "is damaged: it wants to lie past the end of all addresses"
    );
}

#[test]
fn linux_is_known_by_its_format_or_by_its_note() {
    let is_linux = |image: &[u8]| {
        let file = file(image);
        Kernel::open(file.path()).unwrap().is_linux()
    };
    assert!(is_linux(&bzimage()));
    assert!(!is_linux(&elf_image(4096)));
    assert!(!is_linux(&pvh_image()));
    let mut image = pvh_image();
    put(&mut image, 120 + 32, &40u64.to_le_bytes());
    put(&mut image, 0xd4, &[6, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
    put(&mut image, 0xe0, b"Linux\0\0\0\0\0\0\0");
    assert!(is_linux(&image));
}

#[test]
fn a_kernel_that_does_not_fit_says_what_it_needs() {
    for image in [elf_image(100 * MIB), {
        let mut image = bzimage();
        put(&mut image, 0x260, &(100u32 << 20).to_le_bytes());
        image
    }] {
        let error = refusal(&image);
        assert!(
            error.starts_with("32 MiB of memory are too small for kernel"),
            "{error}"
        );
        assert!(error.ends_with("which needs 116 MiB"), "{error}");
    }
}

#[test]
fn an_unreadable_kernel_is_refused_with_the_reason() {
    let error = Kernel::open(Path::new("/nonexistent/kernel")).unwrap_err();
    let text = "cannot read kernel '/nonexistent/kernel': No such file or directory";
    assert_eq!(error.to_string(), text);
    let error = Kernel::open(Path::new("/tmp")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read kernel '/tmp': Is a directory"
    );
    let error = Kernel::open(Path::new("/dev/null")).unwrap_err();
    let text = "cannot read kernel '/dev/null': it is not a regular file";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_file_that_changes_between_two_starts_is_looked_at_again() {
    let file = file(&elf_image(4096));
    let kernel = Kernel::open(file.path()).unwrap();
    load_again(&kernel, &memory()).unwrap();
    // Written in place, as a build does that does not care.
    fs::write(file.path(), pvh_image()).unwrap();
    let loaded = load_again(&kernel, &memory()).unwrap();
    assert_eq!(loaded.entry, Entry::Pvh(16 * MIB + 4));
    fs::write(file.path(), "nothing").unwrap();
    let error = load_again(&kernel, &memory()).unwrap_err().to_string();
    assert!(error.ends_with("is a text file"), "{error}");
}

/// Any outcome is one line, or a kernel that lies where it may.
fn check(bytes: &[u8], length: u64) -> Result<(), TestCaseError> {
    let file = file(bytes);
    // A hole: what is read of it is bounded, however long it is.
    file.as_file()
        .set_len(length.max(bytes.len() as u64))
        .unwrap();
    let memory = memory();
    match load(&file, &memory) {
        Ok(loaded) => {
            prop_assert!(loaded.end <= 32 * MIB);
            prop_assert!(loaded.initrd_limit <= 32 * MIB);
            prop_assert!((MIB..loaded.end).contains(&loaded.entry.address()));
        }
        Err(error) => {
            let text = error.to_string();
            prop_assert!(!text.contains('\n'), "{}", text);
            prop_assert!(text.contains(file.path().to_str().unwrap()), "{}", text);
        }
    }
    // Tables and parameters come here; no kernel does.
    let mut low = vec![0; 1 << 20];
    memory.read_slice(&mut low, GuestAddress(0)).unwrap();
    prop_assert!(low.iter().all(|byte| *byte == 0));
    Ok(())
}

fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(u64::MAX),
        Just(0),
        any::<u8>().prop_map(u64::from),
        (0u64..64 * MIB),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_in_one_line(
        bytes in prop::collection::vec(any::<u8>(), 0..2048),
        length in prop_oneof![Just(0), Just(1u64 << 40)],
    ) {
        check(&bytes, length)?;
    }

    #[test]
    fn a_header_with_arbitrary_fields_is_a_kernel_or_an_error_in_one_line(
        mut image in prop::sample::select(vec![elf_image(4096), pvh_image(), bzimage()]),
        changes in prop::collection::vec((any::<Index>(), 1usize..=8, values()), 1..6),
        length in prop_oneof![Just(0), Just(40 * MIB), Just(1u64 << 40)],
    ) {
        for (at, width, value) in changes {
            // Where the headers are.
            let at = at.index(0x270.min(image.len()) - 8);
            put(&mut image, at, &value.to_le_bytes()[..width]);
        }
        check(&image, length)?;
    }
}
