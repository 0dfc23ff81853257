//! Linux kernel images: the ELF vmlinux inside a bzImage.
//!
//! The setup header locates the compressed payload (Linux `Documentation/arch/x86/boot.rst`, protocol 2.08 and later);
//! the payload's first bytes tell its compression.

use std::io::{self, Write};
use std::process::Stdio;

use crate::tool::{self, ToolError};

/// Why no vmlinux was extracted.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
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
    /// The unpacked payload is not an ELF image.
    #[error("the unpacked payload is not an ELF image")]
    NotElf,
    /// Decompressing by a tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The payload could not be passed to the tool.
    #[error("cannot pass the payload to the decompressor")]
    Pipe(#[source] io::Error),
}

const SETUP_SECTORS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL_VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// The legacy frame format splits its input into blocks of this size.
const LZ4_LEGACY_BLOCK: usize = 8 << 20;

/// The ELF vmlinux inside a bzImage.
pub fn extract_vmlinux(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    let payload = payload(image)?;
    let magic = *payload
        .first_chunk::<4>()
        .ok_or(KernelError::UnknownCompression([0; 4]))?;
    let vmlinux = match magic {
        LZ4_LEGACY_MAGIC => decompress_lz4_legacy(payload)?,
        [0x1f, 0x8b, ..] => decompress_by("gzip", payload)?,
        [0xfd, b'7', b'z', b'X'] => decompress_by("xz", without_size(payload))?,
        [0x28, 0xb5, 0x2f, 0xfd] => decompress_by("zstd", without_size(payload))?,
        [0x7f, b'E', b'L', b'F'] => payload.to_vec(),
        other => return Err(KernelError::UnknownCompression(other)),
    };
    if vmlinux.starts_with(b"\x7fELF") {
        Ok(vmlinux)
    } else {
        Err(KernelError::NotElf)
    }
}

fn payload(image: &[u8]) -> Result<&[u8], KernelError> {
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return Err(KernelError::NoSetupHeader);
    }
    let protocol = image
        .get(PROTOCOL_VERSION..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .map(u16::from_le_bytes);
    let protocol = protocol.ok_or(KernelError::NoSetupHeader)?;
    if protocol < 0x0208 {
        return Err(KernelError::OldProtocol(protocol));
    }
    let field = |at: usize| u32_at(image, at).ok_or(KernelError::NoSetupHeader);
    let sectors = match image[SETUP_SECTORS] {
        0 => 4, // As in old boot sectors.
        sectors => usize::from(sectors),
    };
    let offset = (sectors + 1) * SECTOR + field(PAYLOAD_OFFSET)?;
    let length = field(PAYLOAD_LENGTH)?;
    image
        .get(offset..offset.saturating_add(length))
        .ok_or(KernelError::OutOfBounds { offset, length })
}

/// The kernel's build appends the unpacked size to each payload whose format does not contain it.
fn without_size(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().saturating_sub(4)]
}

fn decompress_lz4_legacy(payload: &[u8]) -> Result<Vec<u8>, KernelError> {
    let mut vmlinux = Vec::new();
    let mut block = vec![0; LZ4_LEGACY_BLOCK];
    let mut at = LZ4_LEGACY_MAGIC.len();
    // Less than a block's header and one byte is the appended size, or the end.
    while payload.len() - at > 4 {
        let length = u32_at(payload, at).ok_or(KernelError::DamagedLz4(at))?;
        let compressed = payload
            .get(at + 4..at + 4 + length)
            .ok_or(KernelError::DamagedLz4(at))?;
        let unpacked = lz4_flex::block::decompress_into(compressed, &mut block);
        let unpacked = unpacked.map_err(|_| KernelError::DamagedLz4(at))?;
        vmlinux.extend_from_slice(&block[..unpacked]);
        at += 4 + length;
    }
    Ok(vmlinux)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

/// Unpacks `compressed` with the command-line tool of that name.
pub fn decompress_by(tool: &str, compressed: &[u8]) -> Result<Vec<u8>, KernelError> {
    // A file: a pipe written and read by one thread can deadlock.
    let mut input = tempfile::tempfile().map_err(KernelError::Pipe)?;
    input.write_all(compressed).map_err(KernelError::Pipe)?;
    io::Seek::rewind(&mut input).map_err(KernelError::Pipe)?;
    Ok(tool::output(
        tool::command(tool)?.arg("-dc").stdin(Stdio::from(input)),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_gzip_payload_unpacks() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"\x7fELF and more").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let compressed = tool::output(
            tool::command("gzip")
                .unwrap()
                .arg("-c")
                .stdin(Stdio::from(file)),
        )
        .unwrap();
        assert_eq!(
            extract_vmlinux(&bzimage(&compressed)).unwrap(),
            b"\x7fELF and more"
        );
    }

    #[test]
    fn kinds_of_damage_are_distinguished() {
        assert!(matches!(
            extract_vmlinux(b"short"),
            Err(KernelError::NoSetupHeader)
        ));
        assert!(matches!(
            extract_vmlinux(&bzimage(b"what?")),
            Err(KernelError::UnknownCompression(_))
        ));
        assert!(matches!(
            extract_vmlinux(&bzimage(&lz4_legacy(&[b"text"]))),
            Err(KernelError::NotElf)
        ));
        let mut cut = lz4_legacy(&[&[1; 4000]]);
        cut.truncate(12);
        assert!(matches!(
            extract_vmlinux(&bzimage(&cut)),
            Err(KernelError::DamagedLz4(4))
        ));
        let mut outside = bzimage(b"payload");
        outside[PAYLOAD_OFFSET + 3] = 0x7f;
        assert!(matches!(
            extract_vmlinux(&outside),
            Err(KernelError::OutOfBounds { .. })
        ));
    }
}
