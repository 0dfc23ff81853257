//! What a file is that is not a kernel, by its first bytes: a file for another option, or one that is still compressed.

use super::Refusal;

/// The end of the farthest magic number.
pub(in crate::boot) const HEAD: usize = 0x8006;

/// Magic numbers: offset, bytes, meaning. The first match decides.
const MAGIC_NUMBERS: [(usize, &[u8], Refusal); 33] = [
    (0, b"\x1f\x8b", compressed("gzip", "gzip -dc")),
    (0, b"\xfd7zXZ\0", compressed("xz", "xz -dc")),
    (0, b"\x28\xb5\x2f\xfd", compressed("zstd", "zstd -dc")),
    (0, b"\x04\x22\x4d\x18", compressed("LZ4", "lz4 -dc")),
    (0, b"\x02\x21\x4c\x18", compressed("LZ4", "lz4 -dc")),
    (0, b"BZh", compressed("bzip2", "bzip2 -dc")),
    (0, b"\x5d\0\0", compressed("LZMA", "xz -dc --format=lzma")),
    (0, b"\x89LZO\0", compressed("LZO", "lzop -dc")),
    (0x38, b"ARMd", Refusal::OtherMachine("arm64")),
    (0x38, b"RSC\x05", Refusal::OtherMachine("RISC-V")),
    (4, b"zimg", Refusal::EfiZboot),
    (0, b"MZ", Refusal::EfiProgram),
    (0, b"070701", Refusal::Initramfs),
    (0, b"070702", Refusal::Initramfs),
    (0, b"070707", Refusal::Initramfs),
    (0, b"QFI\xfb", Refusal::Disk("qcow2")),
    (0, b"KDMV", Refusal::Disk("VMDK")),
    (0, b"vhdxfile", Refusal::Disk("VHDX")),
    (0, b"XFSB", Refusal::Disk("XFS")),
    (0, b"hsqs", Refusal::Disk("squashfs")),
    (0x438, b"\x53\xef", Refusal::Disk("ext4")),
    (0x400, b"\x10\x20\xf5\xf2", Refusal::Disk("F2FS")),
    (0x8001, b"CD001", Refusal::Disk("ISO 9660")),
    (512, b"EFI PART", Refusal::Disk("GPT")),
    (
        0,
        b"!<arch>\ndebian-binary",
        Refusal::Container("a Debian package"),
    ),
    (0, b"!<arch>\n", Refusal::ObjectFile),
    (0, b"\xed\xab\xee\xdb", Refusal::Container("an RPM package")),
    (0, b"PK\x03\x04", Refusal::Container("a zip archive")),
    (257, b"ustar", Refusal::Container("a tar archive")),
    (
        0,
        b"\x27\x05\x19\x56",
        Refusal::Container("an image for U-Boot"),
    ),
    (
        0,
        b"\xd0\x0d\xfe\xed",
        Refusal::Container("an image for U-Boot"),
    ),
    (510, b"\x55\xaa", Refusal::Disk("MBR")),
    (0, b"#!", Refusal::Script),
];

const fn compressed(by: &'static str, tool: &'static str) -> Refusal {
    Refusal::Compressed { by, tool }
}

/// Whether `bytes` are at `offset` of a file that begins with `head`.
pub(super) fn has(head: &[u8], (offset, bytes): (usize, &[u8])) -> bool {
    head.get(offset..)
        .is_some_and(|rest| rest.starts_with(bytes))
}

/// What a file is that begins with `head` and is not a kernel.
pub(super) fn recognise(head: &[u8]) -> Refusal {
    if head.is_empty() {
        return Refusal::Empty;
    }
    let known = MAGIC_NUMBERS
        .iter()
        .find(|(offset, bytes, _)| has(head, (*offset, bytes)));
    let is_text = || {
        let readable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        head.iter().all(readable)
    };
    match known {
        Some((.., refusal)) => refusal.clone(),
        None if is_text() => Refusal::Text,
        None => Refusal::Unknown,
    }
}

/// Further formats of initial RAM disks, beside the compressed and text forms in [`MAGIC_NUMBERS`]: cpio's binary form,
/// and the file systems that Linux mounts as one (`init/do_mounts_rd.c`).
const INITRDS: [(usize, &[u8]); 7] = [
    (0, b"\xc7\x71"),
    (0, b"hsqs"),
    (0, b"-rom1fs-"),
    (0, b"\x45\x3d\xcd\x28"),
    (0x438, b"\x53\xef"),
    (0x410, b"\x7f\x13"),
    (0x410, b"\x8f\x13"),
];

/// Whether a file that begins with `head` is an initial RAM disk for Linux.
pub(in crate::boot) fn is_initrd(head: &[u8]) -> bool {
    let is_packed = matches!(
        recognise(head),
        Refusal::Compressed { .. } | Refusal::Initramfs
    );
    is_packed || INITRDS.iter().any(|magic| has(head, *magic))
}
