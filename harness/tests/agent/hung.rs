//! A file system that does not answer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::under_test::SOON;

/// The name of the only file: it can be looked up and opened, and a read of it hangs. So does the lookup of any other
/// name.
pub const FILE: &str = "file";

const LOOKUP: u32 = 1;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const ENOSYS: i32 = 38;
/// The bytes of a request before its arguments.
const HEADER_BYTES: usize = 40;

/// A FUSE file system. Dropping it ends the operations that hang with an error.
pub struct Hung {
    directory: PathBuf,
    hangs: Receiver<()>,
}

impl Hung {
    /// Mounts it; `None` if that is not allowed, as to an ordinary user.
    pub fn mount(directory: &Path) -> Option<Self> {
        std::fs::create_dir(directory).unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.ok()?;
        let mount = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o"])
            .arg("fd=0,rootmode=40000,user_id=0,group_id=0")
            .args([Path::new("hung"), directory])
            .stdin(device.try_clone().unwrap())
            .status();
        if !mount.is_ok_and(|status| status.success()) {
            return None;
        }
        let (told, hangs) = mpsc::channel();
        thread::spawn(move || serve(device, &told));
        Some(Self {
            directory: directory.to_owned(),
            hangs,
        })
    }

    /// Waits until an operation hangs.
    pub fn wait_until_used(&self) {
        self.hangs.recv_timeout(SOON).unwrap();
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // By force: what hangs fails.
        let _ = Command::new("umount")
            .args(["-i", "-f", "-l"])
            .arg(&self.directory)
            .status();
    }
}

/// Answers all but what hangs, until it is unmounted.
fn serve(mut device: File, told: &Sender<()>) {
    let mut request = vec![0; 128 << 10];
    loop {
        let Ok(count) = device.read(&mut request) else {
            return;
        };
        let request = &request[..count];
        let operation = u32::from_ne_bytes(*request[4..].first_chunk().unwrap());
        let unique: [u8; 8] = *request[8..].first_chunk().unwrap();
        let arguments = &request[HEADER_BYTES..];
        let (error, payload) = match operation {
            INIT => (0, init()),
            LOOKUP if arguments.strip_suffix(b"\0") == Some(FILE.as_bytes()) => (0, entry()),
            OPEN => (0, vec![0; 16]),
            LOOKUP | READ => {
                let _ = told.send(());
                continue;
            }
            _ => (-ENOSYS, Vec::new()),
        };
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut answer = length.to_ne_bytes().to_vec();
        answer.extend(i32::to_ne_bytes(error));
        answer.extend(unique);
        answer.extend(payload);
        // Some requests take no answer.
        let _ = device.write_all(&answer);
    }
}

/// `fuse_init_out` of version 7.31.
fn init() -> Vec<u8> {
    let mut bytes: Vec<u8> = [7_u32, 31, 64 << 10, 0].map(u32::to_ne_bytes).concat();
    bytes.extend([16_u16, 12].map(u16::to_ne_bytes).concat());
    bytes.extend([64_u32 << 10, 1].map(u32::to_ne_bytes).concat());
    bytes.resize(64, 0);
    bytes
}

/// `fuse_entry_out` of an executable file, valid for an hour.
fn entry() -> Vec<u8> {
    let (node, hour) = (2_u64, 3600);
    let mut bytes: Vec<u8> = [node, 0, hour, hour, 0].map(u64::to_ne_bytes).concat();
    // Its number, size and blocks, and three times.
    bytes.extend([node, 4096, 8, 0, 0, 0].map(u64::to_ne_bytes).concat());
    let (mode, links, block_size) = (0o100_755, 1, 4096);
    let rest = [0_u32, 0, 0, mode, links, 0, 0, 0, block_size, 0];
    bytes.extend(rest.map(u32::to_ne_bytes).concat());
    bytes
}
