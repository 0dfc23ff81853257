//! Linux kernel images: the ELF vmlinux inside a bzImage.
//!
//! The setup header locates the compressed payload (Linux `Documentation/arch/x86/boot.rst`, protocol 2.08 and later);
//! the payload's first bytes tell its compression.

use memchr::memmem;

use super::compression::{self, CompressionError};

/// Why no vmlinux was extracted.
#[derive(Debug, thiserror::Error)]
pub enum VmlinuxError {
    /// The image has no setup header.
    #[error("not a bzImage: there is no setup header")]
    NoSetupHeader,
    /// The boot protocol is too old to locate the payload.
    #[error("boot protocol {major}.{minor} does not name the payload (2.08 or later does)", major = .0 >> 8, minor = .0 & 0xff)]
    OldProtocol(u16),
    /// The header points outside of the file.
    #[error(
        "the setup header names a payload of {length} bytes at {offset}, which is outside of the file"
    )]
    OutOfBounds {
        /// Its offset in the file.
        offset: usize,
        /// Its length.
        length: usize,
    },
    /// The payload's compression is unknown.
    #[error("the payload's compression is unknown: it starts with {0:02x?}")]
    UnknownCompression([u8; 4]),
    /// The LZ4 stream is damaged.
    #[error("the LZ4 payload is damaged at byte {0}")]
    DamagedLz4(usize),
    /// The unpacked payload is larger than any kernel.
    #[error("the unpacked payload is larger than {LARGEST} bytes")]
    TooLarge,
    /// The unpacked payload is not an ELF image.
    #[error("the unpacked payload is not an ELF image")]
    NotElf,
    /// The payload is damaged.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

const SETUP_SECTORS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL_VERSION: usize = 0x206;
const VERSION_POINTER: usize = 0x20e;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// The largest vmlinux.
const LARGEST: usize = 1 << 30;
const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// The legacy frame format splits its input into blocks of this size.
const LZ4_LEGACY_BLOCK: usize = 8 << 20;

/// The ELF vmlinux inside a bzImage.
///
/// # Errors
///
/// It is no bzImage, or its payload cannot be unpacked.
pub fn extract_vmlinux(image: &[u8]) -> Result<Vec<u8>, VmlinuxError> {
    let payload = payload(image)?;
    let magic = *payload
        .first_chunk::<4>()
        .ok_or(VmlinuxError::UnknownCompression([0; 4]))?;
    let vmlinux = match magic {
        LZ4_LEGACY_MAGIC => decompress_lz4_legacy(payload)?,
        [0x7f, b'E', b'L', b'F'] => payload.to_vec(),
        other => {
            compression::decompress(payload)?.ok_or(VmlinuxError::UnknownCompression(other))?
        }
    };
    if vmlinux.starts_with(b"\x7fELF") {
        Ok(vmlinux)
    } else {
        Err(VmlinuxError::NotElf)
    }
}

fn payload(image: &[u8]) -> Result<&[u8], VmlinuxError> {
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return Err(VmlinuxError::NoSetupHeader);
    }
    let protocol = image
        .get(PROTOCOL_VERSION..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .map(u16::from_le_bytes);
    let protocol = protocol.ok_or(VmlinuxError::NoSetupHeader)?;
    if protocol < 0x0208 {
        return Err(VmlinuxError::OldProtocol(protocol));
    }
    let field = |at: usize| u32_at(image, at).ok_or(VmlinuxError::NoSetupHeader);
    let sectors = match image[SETUP_SECTORS] {
        0 => 4, // As in old boot sectors.
        sectors => usize::from(sectors),
    };
    let offset = (sectors + 1) * SECTOR + field(PAYLOAD_OFFSET)?;
    let length = field(PAYLOAD_LENGTH)?;
    image
        .get(offset..offset.saturating_add(length))
        .ok_or(VmlinuxError::OutOfBounds { offset, length })
}

/// The release in the setup header of a bzImage, as in `uname -r`.
pub(super) fn release_of_bzimage(image: &[u8]) -> Option<String> {
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return None;
    }
    let pointer = image.get(VERSION_POINTER..)?.first_chunk::<2>()?;
    let text = image.get(usize::from(u16::from_le_bytes(*pointer)) + SECTOR..)?;
    let end = text.iter().position(|byte| matches!(byte, 0 | b' '))?;
    let release = std::str::from_utf8(&text[..end]).ok()?;
    is_plausible(release).then(|| release.to_owned())
}

/// The release in the banner of a vmlinux.
pub(super) fn release_of_vmlinux(vmlinux: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    // Its format string is there, too.
    memmem::find_iter(vmlinux, BANNER).find_map(|at| {
        let text = vmlinux.get(at + BANNER.len()..)?;
        let end = text.iter().position(|byte| *byte == b' ')?;
        let release = std::str::from_utf8(&text[..end]).ok()?;
        is_plausible(release).then(|| release.to_owned())
    })
}

/// Whether a text may be a kernel's release, which becomes a part of paths here.
fn is_plausible(release: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    release.starts_with(|first: char| first.is_ascii_digit()) && release.bytes().all(is_good)
}

fn decompress_lz4_legacy(payload: &[u8]) -> Result<Vec<u8>, VmlinuxError> {
    let mut vmlinux = Vec::new();
    let mut block = vec![0; LZ4_LEGACY_BLOCK];
    let mut at = LZ4_LEGACY_MAGIC.len();
    // Less than a block's header and one byte is the appended size, or the end.
    while payload.len() - at > 4 {
        let length = u32_at(payload, at).ok_or(VmlinuxError::DamagedLz4(at))?;
        let compressed = payload
            .get(at + 4..at + 4 + length)
            .ok_or(VmlinuxError::DamagedLz4(at))?;
        let unpacked = lz4_flex::block::decompress_into(compressed, &mut block);
        let unpacked = unpacked.map_err(|_| VmlinuxError::DamagedLz4(at))?;
        if vmlinux.len() + unpacked > LARGEST {
            return Err(VmlinuxError::TooLarge);
        }
        vmlinux.extend_from_slice(&block[..unpacked]);
        at += 4 + length;
    }
    Ok(vmlinux)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::compression::tests::{XZ, gzip, zstd};
    use super::*;

    #[test]
    fn a_release_is_no_path() {
        assert!(is_plausible("6.1.0-57-cloud-amd64") && is_plausible("6.12~rc1+b_2"));
        for text in ["", "/", "../..", "6.1/../..", ".6", "6.1\n", "sechs"] {
            assert!(!is_plausible(text), "{text:?}");
        }
    }

    /// A bzImage of one setup sector with `payload` behind it.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR];
        image[SETUP_SECTORS] = 1;
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL_VERSION..PROTOCOL_VERSION + 2].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend([0; 16]);
        image.extend(payload);
        image.extend(b"what follows the payload");
        image
    }

    fn lz4_legacy(blocks: &[&[u8]]) -> Vec<u8> {
        let mut stream = LZ4_LEGACY_MAGIC.to_vec();
        for block in blocks {
            let compressed = lz4_flex::block::compress(block);
            stream.extend(u32::try_from(compressed.len()).unwrap().to_le_bytes());
            stream.extend(compressed);
        }
        stream.extend(0xdead_u32.to_le_bytes()); // the unpacked size
        stream
    }

    #[test]
    fn an_lz4_payload_of_several_blocks_unpacks() {
        let first = [b"\x7fELF".as_slice(), &[7; 5000]].concat();
        let second = vec![9; 300];
        let image = bzimage(&lz4_legacy(&[&first, &second]));
        assert_eq!(extract_vmlinux(&image).unwrap(), [first, second].concat());
    }

    #[test]
    fn a_payload_unpacks_however_it_is_compressed() {
        const VMLINUX: &[u8] = b"\x7fELF and more";
        for compressed in [gzip(VMLINUX), zstd(VMLINUX), XZ.to_vec(), VMLINUX.to_vec()] {
            assert_eq!(extract_vmlinux(&bzimage(&compressed)).unwrap(), VMLINUX);
            // The kernel's build appends the unpacked size to some.
            let size = 13_u32.to_le_bytes();
            let appended = [&compressed[..], &size].concat();
            let unpacked = extract_vmlinux(&bzimage(&appended)).unwrap();
            assert!(unpacked.starts_with(VMLINUX));
        }
    }

    #[test]
    fn the_release_is_read_from_the_header_and_from_the_banner() {
        let mut image = bzimage(b"payload");
        image[VERSION_POINTER..VERSION_POINTER + 2].copy_from_slice(&0x40_u16.to_le_bytes());
        image[SECTOR + 0x40..SECTOR + 0x4c].copy_from_slice(b"6.1.0-57 (x)");
        assert_eq!(release_of_bzimage(&image).as_deref(), Some("6.1.0-57"));
        assert_eq!(release_of_bzimage(b"\x7fELF"), None);
        let vmlinux = b"\x7fELF Linux version %s Linux version 6.1.0-57 (a@b) #1";
        assert_eq!(release_of_vmlinux(vmlinux).as_deref(), Some("6.1.0-57"));
    }

    #[test]
    fn kinds_of_damage_are_distinguished() {
        assert!(matches!(
            extract_vmlinux(b"short"),
            Err(VmlinuxError::NoSetupHeader)
        ));
        assert!(matches!(
            extract_vmlinux(&bzimage(b"what?")),
            Err(VmlinuxError::UnknownCompression(_))
        ));
        assert!(matches!(
            extract_vmlinux(&bzimage(&lz4_legacy(&[b"text"]))),
            Err(VmlinuxError::NotElf)
        ));
        let mut cut = lz4_legacy(&[&[1; 4000]]);
        cut.truncate(12);
        assert!(matches!(
            extract_vmlinux(&bzimage(&cut)),
            Err(VmlinuxError::DamagedLz4(4))
        ));
        let mut outside = bzimage(b"payload");
        outside[PAYLOAD_OFFSET + 3] = 0x7f;
        assert!(matches!(
            extract_vmlinux(&outside),
            Err(VmlinuxError::OutOfBounds { .. })
        ));
    }
}
