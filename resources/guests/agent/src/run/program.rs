//! Finds a program, and says why it cannot be executed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use rustix::fs::{Access, access};
use rustix::io::Errno;

/// The part of a file in which its interpreter is looked for.
const HEADER_BYTES: usize = 4096;
/// How many files are looked at from a program on: it, its interpreters as far as the kernel goes, and a loader.
const DEPTH: usize = 7;
/// The largest table of program headers that the kernel takes.
const TABLE_BYTES: usize = 64 << 10;

/// Finds a program by its name or path.
///
/// # Errors
///
/// It is not there, or not executable.
pub fn find(name: &OsStr, search: &OsStr, directory: &Path) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        let message = "no program is named";
        return Err(Failure::new(FailureKind::NoSuchProgram, message));
    }
    if name.as_bytes().contains(&b'/') {
        let path = directory.join(name);
        check(&path)?;
        return Ok(path);
    }
    let mut seen = None;
    for folder in std::env::split_paths(search) {
        let path = directory.join(folder).join(name);
        match check(&path) {
            Ok(()) => return Ok(path),
            Err(failure) if failure.kind != FailureKind::NoSuchProgram => seen = Some(failure),
            Err(_) => {}
        }
    }
    Err(seen.unwrap_or_else(|| {
        let (name, search) = (name.to_string_lossy(), search.to_string_lossy());
        let message = format!("there is no program '{name}' in {search}");
        Failure::new(FailureKind::NoSuchProgram, message)
    }))
}

fn check(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let metadata = path.metadata().map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => FailureKind::NoSuchProgram,
            _ => FailureKind::System,
        };
        Failure::new(
            kind,
            format!("there is no program '{shown}': {}", what(&error)),
        )
    })?;
    let not_executable = |why: &str| {
        let message = format!("'{shown}' is not executable: {why}");
        Err(Failure::new(FailureKind::NotExecutable, message))
    };
    if metadata.is_dir() {
        return not_executable("it is a directory");
    }
    if access(path, Access::EXEC_OK).is_err() || metadata.permissions().mode() & 0o111 == 0 {
        return not_executable(&format!(
            "its mode is {:04o}",
            metadata.permissions().mode() & 0o7777
        ));
    }
    // execvp(3) would have a shell read it.
    if is_foreign(path) {
        return not_executable("it is no program for this system");
    }
    Ok(())
}

/// Whether a file is an ELF file for another system, or a damaged one.
fn is_foreign(path: &Path) -> bool {
    const EM_386: u16 = 3;
    const EM_X86_64: u16 = 62;
    let mut header = [0; 20];
    let read = File::open(path).and_then(|file| file.read_at(&mut header, 0));
    let is_ours = || matches!(u16_at(&header, 18), Some(EM_386 | EM_X86_64));
    read.is_ok() && header.starts_with(b"\x7fELF") && !is_ours()
}

/// Reads what the kernel reads before a process executes a program: the first page and the program headers of each file
/// from the program to its loader.
///
/// A process is started under a lock, and is waited for until it executes. A disk that does not answer is waited for
/// here instead, where no other run does. What is wrong with a file, the start tells.
pub fn read_ahead(path: &Path, directory: &Path) {
    let mut path = path.to_owned();
    for _ in 0..DEPTH {
        // Opening a FIFO waits.
        if !path.is_file() {
            return;
        }
        let Some(interpreter) = interpreter(&path) else {
            return;
        };
        path = directory.join(interpreter);
    }
}

/// Says why a program that is there could not be executed.
pub fn explain(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => {
            if let Some(missing) = missing_interpreter(path) {
                let message = format!(
                    "'{shown}' needs '{}', which is not there",
                    missing.display()
                );
                return Failure::new(FailureKind::NoInterpreter, message);
            }
            let message = format!("cannot execute '{shown}': {}", what(error));
            Failure::new(FailureKind::NoSuchProgram, message)
        }
        Some(Errno::NOEXEC) => {
            let message = format!("'{shown}' is not executable: it is no program for this system");
            Failure::new(FailureKind::NotExecutable, message)
        }
        Some(Errno::ACCESS) => {
            let message = format!("'{shown}' is not executable: {}", what(error));
            Failure::new(FailureKind::NotExecutable, message)
        }
        _ => {
            let message = format!("cannot execute '{shown}': {}", what(error));
            Failure::new(FailureKind::System, message)
        }
    }
}

/// An error without its number.
pub fn what(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

fn missing_interpreter(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..DEPTH {
        let interpreter = interpreter(&path)?;
        if !interpreter.exists() {
            return Some(interpreter);
        }
        path = interpreter;
    }
    None
}

/// The program that executes a file: of a script's first line, or an ELF file's loader.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let file = File::open(path).ok()?;
    let mut header = vec![0; HEADER_BYTES];
    let count = file.read_at(&mut header, 0).ok()?;
    header.truncate(count);
    if let Some(line) = header.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        let word = words.find(|word| !word.is_empty())?;
        return Some(OsStr::from_bytes(word).into());
    }
    let (offset, size, count) = table(&header)?;
    let bytes = size.checked_mul(count);
    let mut table = vec![0; bytes.filter(|bytes| *bytes <= TABLE_BYTES)?];
    file.read_exact_at(&mut table, offset).ok()?;
    let (offset, length) = loader(&table, size)?;
    let mut name = vec![0; length];
    file.read_exact_at(&mut name, offset).ok()?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(length);
    Some(OsStr::from_bytes(&name[..end]).into())
}

/// Where a 64-bit ELF file has its program headers: offset, the size of one, and their number.
fn table(header: &[u8]) -> Option<(u64, usize, usize)> {
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (size, count) = (u16_at(header, 54)?, u16_at(header, 56)?);
    Some((u64_at(header, 32)?, size.into(), count.into()))
}

/// Where a 64-bit ELF file has the name of its loader (`PT_INTERP`): offset and length.
fn loader(table: &[u8], size: usize) -> Option<(u64, usize)> {
    const PT_INTERP: u32 = 3;
    let is_loader = |header: &&[u8]| u32_at(header, 0) == Some(PT_INTERP);
    let header = table.chunks_exact(size.max(1)).find(is_loader)?;
    let length = usize::try_from(u64_at(header, 32)?).ok()?;
    (length <= HEADER_BYTES).then_some((u64_at(header, 8)?, length))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}
