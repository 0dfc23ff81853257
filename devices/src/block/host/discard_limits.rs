//! What the host supports on an image beside reads and writes, and whether it can be written.
#![expect(unsafe_code, reason = "an ioctl has the type that its number says")]

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::fs::{FallocateFlags, fallocate, major, minor};
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

use crate::block::model::request::{Capabilities, RangeLimits};

/// The longest range of a file. It bounds the time of one request, and exceeds what any driver sends.
const FILE_MAX_LENGTH: u64 = 1 << 30;

/// Whether a block device is read-only (`linux/fs.h`).
const BLKROGET: Opcode = opcode::none(0x12, 94);

/// Whether a file is a read-only block device. The kernel lets such a device be opened for writing all the same (QEMU
/// `hdev_open`).
///
/// # Errors
///
/// The host's error.
pub(super) fn is_read_only_device(file: &File) -> io::Result<bool> {
    if !file.metadata()?.file_type().is_block_device() {
        return Ok(false);
    }
    // SAFETY: BLKROGET writes one `int`.
    let is_read_only: libc::c_int = unsafe { ioctl(file, Getter::<BLKROGET, _>::new()) }?;
    Ok(is_read_only != 0)
}

/// The support of an open file or block device of this length.
pub(super) fn capabilities(file: &File, length: u64) -> Capabilities {
    let Ok(metadata) = file.metadata() else {
        return Capabilities::default();
    };
    // Where the host does not support it, zeroes are written.
    let limits = RangeLimits {
        max_length: FILE_MAX_LENGTH,
        alignment: u32::try_from(metadata.blksize()).unwrap_or(4096),
    };
    let discard = if metadata.file_type().is_block_device() {
        block_device(metadata.rdev())
    } else {
        punches_holes(file, length).then_some(limits)
    };
    Capabilities {
        discard,
        write_zeroes: Some(limits),
        unmaps: discard.is_some(),
    }
}

/// Whether a file system supports holes, tried beyond the file's end, where nothing can be lost.
fn punches_holes(file: &File, length: u64) -> bool {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, mode, length, 4096).is_ok()
}

/// The limits that the kernel reports for a block device (Documentation/ABI/stable/sysfs-block).
fn block_device(device: u64) -> Option<RangeLimits> {
    let attribute = |queue: &str, name: &str| {
        let (major, minor) = (major(device), minor(device));
        let path = format!("/sys/dev/block/{major}:{minor}/{queue}/{name}");
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // A partition has its disk's limits.
    let limit = |name| attribute("queue", name).or_else(|| attribute("../queue", name));
    let max_length = limit("discard_max_bytes").filter(|bytes| *bytes > 0)?;
    // The kernel punches holes in a device only if they read as zeroes.
    limit("write_zeroes_max_bytes").filter(|bytes| *bytes > 0)?;
    let granularity = limit("discard_granularity").unwrap_or(512);
    Some(RangeLimits {
        max_length,
        alignment: u32::try_from(granularity.max(512)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_zeroed_wherever_it_is_and_a_probe_leaves_it_as_it_was() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let found = capabilities(&file, 1 << 20);
        assert!(found.write_zeroes.is_some());
        assert_eq!(found.unmaps, found.discard.is_some());
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.blocks()), (1 << 20, 0));
    }

    #[test]
    fn a_character_device_cannot_discard() {
        let null = File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(capabilities(&null, 0).discard, None);
    }
}
