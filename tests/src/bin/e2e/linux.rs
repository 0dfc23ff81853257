//! Linux guests, and images for their disks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultvisor_tests::check;
use faultvisor_tests::guest::Script;
use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure};
use faultvisor_tests::tool;

use crate::client::Client;

/// The monitor's socket of these machines.
pub fn monitor(context: &Context) -> PathBuf {
    context.path("qmp")
}

/// A command line that boots the stock vmlinux into a shell that obeys the test.
pub fn command(context: &Context) -> Result<Command, Failure> {
    command_with(context, &guest_shell::script())
}

/// As [`command`], with further files in the guest's initramfs.
pub fn command_with(context: &Context, script: &Script) -> Result<Command, Failure> {
    command_for(context, &context.guest().vmlinux(), script)
}

/// As [`command_with`], for any kernel.
pub fn command_for(context: &Context, kernel: &Path, script: &Script) -> Result<Command, Failure> {
    let mut command = context.command();
    let initramfs = context.initramfs(script)?;
    guest_shell::boot_arguments(&mut command, kernel, &initramfs, &monitor(context));
    command.args(["-m", guest_shell::MEMORY]);
    Ok(command)
}

/// As [`command_with`], with the given memory and vCPUs.
pub fn command_of_size(
    context: &Context,
    script: &Script,
    memory: &str,
    cpus: u32,
) -> Result<Command, Failure> {
    let mut command = context.command();
    let initramfs = context.initramfs(script)?;
    let kernel = context.guest().vmlinux();
    guest_shell::boot_arguments(&mut command, &kernel, &initramfs, &monitor(context));
    command.args(["-m", memory, "--smp", &cpus.to_string()]);
    Ok(command)
}

/// Adds a disk with the `keys` of `--drive`, after `file=`.
pub fn add_disk(command: &mut Command, image: &Path, keys: &str) {
    command
        .arg("--drive")
        .arg(format!("file={},{keys}", image.display()));
}

/// Starts a machine and connects a client with default events, before the guest is up.
pub fn start(context: &Context, command: &mut Command) -> Result<(GuestShell, Client), Failure> {
    let guest = GuestShell::new(context.start(command)?);
    let client = Client::connect(&monitor(context))?;
    // Whether the client sees the guest's start is a race.
    client.events_until_now()?;
    Ok((guest, client))
}

/// Starts a machine, connects a client with default events, and waits for the guest's shell.
pub fn boot(context: &Context, command: &mut Command) -> Result<(GuestShell, Client), Failure> {
    let (mut guest, client) = start(context, command)?;
    guest.wait()?;
    Ok((guest, client))
}

/// Bytes without repetition at any multiple of a block: misplaced data shows.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    // Steele and others, "Fast splittable pseudorandom number generators" (SplitMix64).
    let word = |index: usize| {
        let step = (index as u64)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut word = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(step);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8))
        .flat_map(|index| word(index).to_le_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

/// Creates an image of `mebibytes` that begins with `start` and is sparse after it.
pub fn image(path: &Path, mebibytes: u64, start: &[u8]) -> Result<(), Failure> {
    let file = File::create(path)?;
    file.set_len(mebibytes << 20)?;
    file.write_all_at(start, 0)?;
    Ok(())
}

/// Fails unless `path` holds `expected` at `offset`; names the first byte that differs.
pub fn check_bytes(path: &Path, offset: u64, expected: &[u8]) -> Result<(), Failure> {
    let mut found = vec![0; expected.len()];
    File::open(path)?.read_exact_at(&mut found, offset)?;
    let differs = found
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other);
    check!(
        differs.is_none(),
        "byte {} of '{}' is not what was written",
        offset + differs.unwrap_or_default() as u64,
        path.display()
    );
    Ok(())
}

/// A file's SHA-256 in the form of `sha256sum`.
pub fn sha256(path: &Path) -> Result<String, Failure> {
    let output = tool::output(tool::command("sha256sum")?.arg(path))?;
    Ok(first_word(&String::from_utf8_lossy(&output)))
}

/// A text's first word.
pub fn first_word(text: &str) -> String {
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}
