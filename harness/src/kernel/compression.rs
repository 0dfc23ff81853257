//! Compressed kernels and modules.

use std::io::{self, Read};

/// The largest file that is unpacked: no kernel or module comes near it.
const LARGEST: u64 = 1 << 30;

/// A compressed file is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the {format} data are damaged")]
pub struct CompressionError {
    /// The format's name.
    format: &'static str,
    /// What is wrong.
    #[source]
    source: io::Error,
}

/// The contents of gzip, xz or zstd data, whatever follows them; none if they are something else.
pub(super) fn decompress(bytes: &[u8]) -> Result<Option<Vec<u8>>, CompressionError> {
    let failed = |format| move |source| CompressionError { format, source };
    let unpacked = match bytes {
        [0x1f, 0x8b, ..] => read(flate2::bufread::GzDecoder::new(bytes)).map_err(failed("gzip"))?,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            read(lzma_rust2::XzReader::new(bytes, false)).map_err(failed("xz"))?
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(bytes)
                .map_err(|error| failed("zstd")(io::Error::other(error)))?;
            read(decoder).map_err(failed("zstd"))?
        }
        _ => return Ok(None),
    };
    Ok(Some(unpacked))
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let length = from.take(LARGEST + 1).read_to_end(&mut unpacked)?;
    if length as u64 > LARGEST {
        return Err(io::Error::other("more than 1 GiB"));
    }
    Ok(unpacked)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    /// `b"\x7fELF and more"`, as the kernel's build compresses it (Linux `scripts/xz_wrap.sh`): `xz --check=crc32 --x86`.
    pub(crate) const XZ: [u8; 68] = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x01, 0x04,
        0x00, 0x21, 0x01, 0x16, 0x00, 0x0d, 0x86, 0x35, 0x1f, 0x01, 0x00, 0x0c, 0x7f, 0x45, 0x4c,
        0x46, 0x20, 0x61, 0x6e, 0x64, 0x20, 0x6d, 0x6f, 0x72, 0x65, 0x00, 0x00, 0x00, 0x00, 0x0a,
        0x89, 0x4d, 0xc8, 0x00, 0x01, 0x21, 0x0d, 0x75, 0xdc, 0xa8, 0xd2, 0x90, 0x42, 0x99, 0x0d,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
    ];
    /// 400 calls of one function, each of which the filter for x86 makes equal.
    const XZ_CODE: [u8; 88] = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x01, 0x04,
        0x00, 0x21, 0x01, 0x16, 0x00, 0x0d, 0x86, 0x35, 0x1f, 0xe0, 0x09, 0x5f, 0x00, 0x19, 0x5d,
        0x00, 0x74, 0x00, 0x2c, 0x02, 0x00, 0x45, 0xe7, 0xaf, 0x0d, 0x7f, 0xe0, 0x81, 0x77, 0x41,
        0x67, 0x4d, 0xa4, 0x38, 0x4b, 0xa1, 0x11, 0x6b, 0x75, 0x8a, 0x00, 0x00, 0x00, 0x00, 0x00,
        0xd2, 0x6d, 0xbd, 0x92, 0x00, 0x01, 0x31, 0xe0, 0x12, 0x00, 0x00, 0x00, 0x1e, 0x58, 0xb7,
        0xde, 0x3e, 0x30, 0x0d, 0x8b, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
    ];

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(bytes, level)
    }

    fn code() -> Vec<u8> {
        let mut code = Vec::new();
        for at in (0..400_i32).map(|call| call * 6) {
            code.push(0xe8);
            code.extend((0x10000 - (at + 5)).to_le_bytes());
            code.push(0x90);
        }
        code
    }

    #[test]
    fn each_format_unpacks_to_what_was_packed() {
        let code = code();
        let packed = [
            ("gzip", gzip(&code)),
            ("zstd", zstd(&code)),
            ("xz", XZ_CODE.to_vec()),
        ];
        for (format, packed) in packed {
            assert!(packed.len() < code.len());
            assert!(
                decompress(&packed).unwrap().as_ref() == Some(&code),
                "{format}"
            );
            let cut = decompress(&packed[..packed.len() / 2]).unwrap_err();
            assert_eq!(cut.to_string(), format!("the {format} data are damaged"));
        }
        assert!(decompress(b"\x7fELF").unwrap().is_none());
        assert!(decompress(b"").unwrap().is_none());
    }
}
