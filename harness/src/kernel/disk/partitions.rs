//! The file systems on a disk: where each begins, and of what kind it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SECTOR: u64 = 512;
/// GPT disks have 128 entries.
const MOST_ENTRIES: u32 = 256;
const SMALLEST_ENTRY: u32 = 128;
const LARGEST_ENTRY: u32 = 4096;
/// The type of the one MBR partition of a GPT disk.
const PROTECTIVE: u8 = 0xee;

/// The kind of a file system, by its magic number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    Ext,
    Other(&'static str),
}

/// Where a partition begins, in bytes, and its file system, if it has a known one.
pub(super) type Partition = (u64, Option<FileSystem>);

/// The partitions of a disk; one at 0 if it has a file system and no table.
pub(super) fn read(disk: &File) -> io::Result<Vec<Partition>> {
    if let whole @ Some(_) = identify(disk, 0)? {
        return Ok(vec![(0, whole)]);
    }
    let mut first = [0; 512];
    if !read_at(disk, &mut first, 0)? || first[510..] != [0x55, 0xaa] {
        return Ok(Vec::new());
    }
    let entries: Vec<&[u8]> = first[446..510].chunks_exact(16).collect();
    let starts = if entries.iter().any(|entry| entry[4] == PROTECTIVE) {
        gpt(disk)?
    } else {
        let used = entries.iter().filter(|entry| entry[4] != 0);
        used.map(|entry| u64::from(u32_at(entry, 8))).collect()
    };
    let mut found = Vec::new();
    for start in starts.into_iter().filter(|start| *start != 0) {
        if let Some(offset) = start.checked_mul(SECTOR) {
            found.push((offset, identify(disk, offset)?));
        }
    }
    Ok(found)
}

/// First sectors of the partitions in a GUID partition table (UEFI 2.10 §5.3).
fn gpt(disk: &File) -> io::Result<Vec<u64>> {
    let mut header = [0; 92];
    if !read_at(disk, &mut header, SECTOR)? || !header.starts_with(b"EFI PART") {
        return Ok(Vec::new());
    }
    let table = u64_at(&header, 72);
    let count = u32_at(&header, 80).min(MOST_ENTRIES);
    let size = u32_at(&header, 84).clamp(SMALLEST_ENTRY, LARGEST_ENTRY);
    let mut starts = Vec::new();
    for index in 0..u64::from(count) {
        let offset = table
            .checked_mul(SECTOR)
            .and_then(|at| at.checked_add(index * u64::from(size)));
        let mut entry = [0; 40];
        let Some(offset) = offset else { break };
        if !read_at(disk, &mut entry, offset)? {
            break;
        }
        // An unused entry has no type.
        if entry[..16] != [0; 16] {
            starts.push(u64_at(&entry, 32));
        }
    }
    Ok(starts)
}

fn identify(disk: &File, start: u64) -> io::Result<Option<FileSystem>> {
    let magics: [(u64, &[u8], FileSystem); 5] = [
        (0x438, b"\x53\xef", FileSystem::Ext),
        (0, b"XFSB", FileSystem::Other("XFS")),
        (0x10040, b"_BHRfS_M", FileSystem::Other("btrfs")),
        (0, b"hsqs", FileSystem::Other("squashfs")),
        (0x218, b"LVM2 001", FileSystem::Other("LVM")),
    ];
    for (at, magic, kind) in magics {
        let mut found = vec![0; magic.len()];
        let Some(offset) = start.checked_add(at) else {
            continue;
        };
        if read_at(disk, &mut found, offset)? && found == magic {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

/// Reads all of `into`; false if the disk ends before.
fn read_at(disk: &File, into: &mut [u8], offset: u64) -> io::Result<bool> {
    match disk.read_exact_at(into, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        // An offset beyond what a file can have.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.copied().map(u32::from_le_bytes).unwrap_or_default()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.copied().map(u64::from_le_bytes).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const EXT_AT: u64 = 1 << 20;

    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        file
    }

    /// A GUID partition table with partitions that begin at these sectors.
    pub(crate) fn write_gpt(disk: &File, starts: &[u64]) {
        let mut first = [0; 512];
        first[446 + 4] = PROTECTIVE;
        first[446 + 8] = 1;
        first[510..].copy_from_slice(&[0x55, 0xaa]);
        disk.write_all_at(&first, 0).unwrap();
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[72..80].copy_from_slice(&2_u64.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        disk.write_all_at(&header, SECTOR).unwrap();
        for (index, start) in starts.iter().enumerate() {
            let mut entry = [0; 128];
            entry[0] = 1;
            entry[32..40].copy_from_slice(&start.to_le_bytes());
            disk.write_all_at(&entry, 2 * SECTOR + 128 * index as u64)
                .unwrap();
        }
    }

    #[test]
    fn a_file_system_is_found_on_a_whole_disk_and_in_each_kind_of_table() {
        let whole = file();
        whole.write_all_at(b"XFSB", 0).unwrap();
        assert_eq!(read(&whole).unwrap(), [(0, Some(FileSystem::Other("XFS")))]);

        let disk = file();
        disk.write_all_at(b"\x53\xef", EXT_AT + 0x438).unwrap();
        write_gpt(&disk, &[EXT_AT / SECTOR, 5000]);
        assert_eq!(
            read(&disk).unwrap(),
            [(EXT_AT, Some(FileSystem::Ext)), (5000 * SECTOR, None)]
        );

        let mut first = [0; 512];
        first[446 + 4] = 0x83;
        first[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
        first[510..].copy_from_slice(&[0x55, 0xaa]);
        disk.write_all_at(&first, 0).unwrap();
        assert_eq!(read(&disk).unwrap(), [(EXT_AT, Some(FileSystem::Ext))]);
    }

    #[test]
    fn a_damaged_table_ends_the_list() {
        let disk = file();
        assert!(read(&disk).unwrap().is_empty());
        write_gpt(&disk, &[u64::MAX, u64::MAX / SECTOR, 0]);
        assert_eq!(read(&disk).unwrap(), [(u64::MAX / SECTOR * SECTOR, None)]);
        // A table that lies outside of the disk.
        disk.write_all_at(&u64::MAX.to_le_bytes(), SECTOR + 72)
            .unwrap();
        assert!(read(&disk).unwrap().is_empty());
    }
}
