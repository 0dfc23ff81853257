//! Probing: an image's format by its first bytes, if it is not given.
//!
//! The signatures are those by which QEMU's drivers recognise their images (`block/*.c`, the `bdrv_probe` callbacks).
//! An image in a recognised format that is not supported is refused: used as raw, the guest's first write would destroy
//! it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// The number of bytes that are probed (QEMU `BLOCK_PROBE_BUF_SIZE`).
pub(in crate::block) const LOOKED_AT: usize = 512;

/// The result of probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// No known format: raw.
    Raw,
    /// qcow2, of version 2 or later.
    Qcow2,
    /// A format that is not supported, by QEMU's name.
    Foreign(&'static str),
}

/// A format's signature.
struct Signature {
    /// QEMU's name of the format.
    format: &'static str,
    /// Offset of the signature in the image.
    offset: usize,
    bytes: &'static [u8],
}

/// Every format that QEMU recognises by a signature, except both versions of qcow.
const SIGNATURES: [Signature; 12] = [
    signature("vmdk", 0, b"KDMV"),
    signature("vmdk", 0, b"COWD"),
    signature("vdi", 0x40, b"\x7f\x10\xda\xbe"),
    signature("vhdx", 0, b"vhdxfile"),
    signature("vpc", 0, b"conectix"),
    signature("qed", 0, b"QED\0"),
    signature("luks", 0, b"LUKS\xba\xbe"),
    signature("parallels", 0, b"WithoutFreeSpace"),
    signature("parallels", 0, b"WithouFreSpacExt"),
    signature("bochs", 0, b"Bochs Virtual HD Image"),
    signature("cloop", 0, b"#!/bin/sh\n#V2.0 Format\n"),
    signature("vmdk", 0, b"# Disk DescriptorFile"),
];

const fn signature(format: &'static str, offset: usize, bytes: &'static [u8]) -> Signature {
    Signature {
        format,
        offset,
        bytes,
    }
}

/// Probes an image that begins with these bytes; [`LOOKED_AT`] are enough.
pub(in crate::block) fn guess(start: &[u8]) -> Guess {
    if let Some(version) = start.strip_prefix(&super::qcow2::header::MAGIC)
        && let Some((version, _)) = version.split_first_chunk()
    {
        match u32::from_be_bytes(*version) {
            0 => {}
            1 => return Guess::Foreign("qcow"),
            _ => return Guess::Qcow2,
        }
    }
    let matches = |signature: &&Signature| {
        let rest = start.get(signature.offset..);
        rest.is_some_and(|rest| rest.starts_with(signature.bytes))
    };
    match SIGNATURES.iter().find(matches) {
        Some(signature) => Guess::Foreign(signature.format),
        None if is_vmdk_descriptor(start) => Guess::Foreign("vmdk"),
        None => Guess::Raw,
    }
}

/// Whether this is a VMDK descriptor: comments and empty lines, and then the version (QEMU `vmdk_probe`).
fn is_vmdk_descriptor(start: &[u8]) -> bool {
    if !start.starts_with(b"#") {
        return false;
    }
    let is_space = |line: &[u8]| line.iter().all(|byte| matches!(byte, b' ' | b'\r'));
    let mut lines = start.split(|byte| *byte == b'\n');
    let first = lines.find(|line| !line.starts_with(b"#") && !is_space(line));
    first.is_some_and(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        matches!(line, b"version=1" | b"version=2" | b"version=3")
    })
}

/// Probes the image at `path`. What is neither a file nor a block device counts as raw, and opening it reports what it
/// is.
///
/// # Errors
///
/// The host's error if the file cannot be opened or read.
pub fn probe(path: &Path) -> io::Result<Guess> {
    // Opening a pipe would block.
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Ok(Guess::Raw);
    }
    let file = File::open(path)?;
    let mut start = [0; LOOKED_AT];
    let mut length = 0;
    while let Some(rest) = start.get_mut(length..)
        && !rest.is_empty()
    {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(guess(start.get(..length).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_of_qemu_is_recognized_by_its_first_bytes() {
        let vdi = [&[0; 0x40][..], b"\x7f\x10\xda\xbe\x01\0\x01\0"].concat();
        for (start, format) in [
            (&b"QFI\xfb\0\0\0\x01"[..], "qcow"),
            (b"KDMV\x01\0\0\0", "vmdk"),
            (b"COWD\x01\0\0\0", "vmdk"),
            (b"# Disk DescriptorFile\nversion=1\nCID=1", "vmdk"),
            (b"# made by hand\r\n \r\nversion=3\r\nCID=1", "vmdk"),
            (&vdi, "vdi"),
            (b"vhdxfileQ\0E\0", "vhdx"),
            (b"conectix\0\0\0\x02", "vpc"),
            (b"QED\0\0\0\x01\0", "qed"),
            (b"LUKS\xba\xbe\0\x01", "luks"),
            (b"WithoutFreeSpace\x02", "parallels"),
            (b"WithouFreSpacExt\x02", "parallels"),
            (b"Bochs Virtual HD Image\0", "bochs"),
            (b"#!/bin/sh\n#V2.0 Format\nmodprobe", "cloop"),
        ] {
            assert_eq!(guess(start), Guess::Foreign(format), "{start:?}");
        }
        assert_eq!(guess(b"QFI\xfb\0\0\0\x02"), Guess::Qcow2);
        assert_eq!(guess(b"QFI\xfb\0\0\0\x03\0"), Guess::Qcow2);
        for raw in [
            &b""[..],
            &[0; 512],
            b"QFI\xfb\0\0\0\0",
            b"QFI\xfb\0\0\0",
            b"KDM",
            b"#!/bin/sh\necho version=1\n",
            b"# a comment\nversion=4\n",
            b"version=1\n",
        ] {
            assert_eq!(guess(raw), Guess::Raw, "{raw:?}");
        }
    }

    #[test]
    fn a_short_file_is_raw_and_a_missing_one_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(probe(file.path()).unwrap(), Guess::Raw);
        fs::write(file.path(), b"QED\0").unwrap();
        assert_eq!(probe(file.path()).unwrap(), Guess::Foreign("qed"));
        assert_eq!(probe(Path::new("/dev/null")).unwrap(), Guess::Raw);
        probe(&file.path().join("missing")).unwrap_err();
    }
}
