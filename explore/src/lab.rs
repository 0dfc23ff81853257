//! `--lab`: the machine runs in a nested host that QEMU emulates.
//!
//! The kernel and the initial RAM disk are made here; this program and the VMM are brought along with their libraries.
//! In the lab this program runs the command with the same options. Its streams are serial ports of the lab, which are
//! unix sockets here.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use faultvisor_harness::cache::Cache;
use faultvisor_harness::lab::{self, Payload, Settings};
use faultvisor_harness::{command_line, tool};

use crate::failure::Failure;
use crate::interruption::Interruption;
use crate::machine::Boot;
use crate::options::{CommandOptions, MachineOptions};
use crate::progress::Progress;
use crate::report::{self, Form};
use crate::terminal::{self, Raw};

/// The longest life of a lab without a time limit of the command.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// What a lab takes beside its command.
const OVERHEAD: Duration = Duration::from_secs(180);
/// The lab's memory beside the guest's and what is brought along, in MiB.
const MEMORY_MIB: u64 = 1000;
/// Where things are in the lab.
const PROGRAM: &str = "/payload/faultvisor";
const FVCTL: &str = "/payload/fvctl";
const KERNEL: &str = "/payload/kernel";
const INITRD: &str = "/payload/initrd";
/// The serial ports of standard input and output, and of standard error.
const OUTPUT: &str = "/dev/ttyS1";
const ERRORS: &str = "/dev/ttyS2";
const MEBIBYTE: u64 = 1 << 20;

/// A command for the lab.
#[derive(Debug)]
pub struct LabCommand<'a> {
    /// The machine.
    pub machine: &'a MachineOptions,
    /// The command's surroundings.
    pub command: &'a CommandOptions,
    /// Whether it gets a terminal.
    pub has_terminal: bool,
    /// Whether events are JSON.
    pub is_json: bool,
    /// The command.
    pub words: &'a [String],
}

/// Runs a command in a guest in the lab; its exit status.
///
/// # Errors
///
/// QEMU or the VMM is missing, or the lab does not end as it should.
pub fn run(
    boot: &Boot,
    command: &LabCommand<'_>,
    interruption: &Interruption,
) -> Result<u8, Failure> {
    let progress = Progress::start();
    let note = |line: &str| progress.note(line);
    let cache = Cache::of_user()?;
    let images = lab::build(&cache, cache.directory().join("lab"), &note)?;
    note("starting the lab");
    let mut payload = Payload::new(&images)?;
    let brought = bring(&mut payload, boot, command)?;
    let directory = tempfile::tempdir().map_err(Failure::host("cannot make a directory"))?;
    let (output, errors) = (directory.path().join("1"), directory.path().join("2"));
    let refused = "cannot make a socket";
    let output_port = UnixListener::bind(&output).map_err(Failure::host(refused))?;
    let error_port = UnixListener::bind(&errors).map_err(Failure::host(refused))?;
    let memory =
        MEMORY_MIB + 2 * brought.bytes / MEBIBYTE + guest_mebibytes(&command.machine.memory);
    let limit = command.command.timeout.map_or(LONGEST, |limit| {
        // A guest's clock is slower than the host's in the lab.
        limit.saturating_mul(10).saturating_add(OVERHEAD)
    });
    let settings = Settings {
        memory_mib: u32::try_from(memory).unwrap_or(u32::MAX),
        serial_ports: vec![output, errors],
        ..Settings::with_limit(limit)
    };
    let form = if command.is_json {
        Form::Json
    } else {
        Form::Text
    };
    let cancelled = Arc::clone(&settings.cancelled);
    interruption.lab(Arc::clone(&cancelled));
    let _raw = command.has_terminal.then(Raw::begin).transpose()?;
    let from_output = pass_on(output_port, io::stdout(), command.has_terminal, &cancelled)?;
    let from_errors = pass_on(error_port, io::stderr(), false, &cancelled)?;
    drop(progress);
    let ended = images.run(
        payload,
        &script(command, &brought.words),
        &settings,
        |line| {
            if command.machine.verbose {
                report::passed_on(form, "lab", line);
            }
        },
    );
    // The ports have closed with QEMU, but for one that never connected.
    let outcome = ended?;
    for thread in [from_output, from_errors] {
        // A panic of the thread has been reported by its hook.
        let _ = thread.join();
    }
    Ok(u8::try_from(outcome.status).unwrap_or(u8::MAX))
}

/// What was brought into the lab.
struct Brought {
    /// Its size.
    bytes: u64,
    /// The words of `fvctl run` there, up to the command.
    words: Vec<OsString>,
}

fn bring(payload: &mut Payload, boot: &Boot, command: &LabCommand<'_>) -> Result<Brought, Failure> {
    let this = std::env::current_exe().map_err(Failure::host("cannot find this program"))?;
    let program = vmm(command.machine.program.as_deref(), &this)?;
    payload.built(PROGRAM, &program)?;
    payload.built(FVCTL, &this)?;
    let mut bytes = 0;
    let mut copy = |to: &str, from: &Path| -> Result<(), Failure> {
        payload.copy(to, from)?;
        let size = File::open(from).and_then(|file| file.metadata());
        bytes += size.map_err(Failure::file("read", from))?.len();
        Ok(())
    };
    copy(KERNEL, &boot.kernel)?;
    copy(INITRD, &boot.initrd)?;
    let mut machine = command.machine.clone();
    machine.program = Some(PROGRAM.into());
    machine.kernel = Some(KERNEL.into());
    machine.initrd = Some(INITRD.into());
    machine.lab = false;
    for (index, disk) in machine.disk.iter_mut().enumerate() {
        if let Some(image) = disk.file() {
            let place = format!("/payload/disk{index}.img");
            copy(&place, image)?;
            *disk = disk.at(&place);
        }
    }
    for (index, profile) in machine.fault_profile.iter_mut().enumerate() {
        let extension = profile.extension().unwrap_or_default().to_string_lossy();
        let place = format!("/payload/profile{index}.{extension}");
        copy(&place, profile)?;
        *profile = place.into();
    }
    let mut words = machine.words();
    words.extend(["--kernel", KERNEL, "--initrd", INITRD].map(Into::into));
    Ok(Brought { bytes, words })
}

/// The VMM's program: as the harness finds it, but that the lab needs its path; or the one beside this program.
fn vmm(given: Option<&Path>, this: &Path) -> Result<PathBuf, Failure> {
    if let Some(program) = given {
        return Ok(program.to_owned());
    }
    let beside = this.with_file_name("faultvisor");
    if beside.is_file() {
        return Ok(beside);
    }
    tool::find("faultvisor").ok_or_else(|| {
        Failure::Usage(
            "no program 'faultvisor' in PATH; --program or FAULTVISOR names it".to_owned(),
        )
    })
}

/// The shell script of the lab.
fn script(command: &LabCommand<'_>, words: &[OsString]) -> String {
    let mut run: Vec<OsString> = vec![FVCTL.into(), "run".into()];
    run.extend_from_slice(words);
    if command.has_terminal {
        run.push("--tty".into());
    }
    if command.is_json {
        run.push("--json".into());
    }
    run.extend(command.command.words());
    run.push("--".into());
    run.extend(command.words.iter().map(Into::into));
    let run: Vec<String> = run
        .iter()
        .map(|word| command_line::quoted(&word.to_string_lossy()))
        .collect();
    let (rows, columns) = terminal::size();
    let mut script = String::new();
    if let Ok(log) = std::env::var("FAULTVISOR_LOG") {
        script.push_str(&format!(
            "export FAULTVISOR_LOG={}\n",
            command_line::quoted(&log)
        ));
    }
    script.push_str(&format!(
        "stty raw -echo < {OUTPUT}\nstty raw -echo < {ERRORS}\n"
    ));
    if command.has_terminal {
        script.push_str(&format!("stty rows {rows} cols {columns} < {OUTPUT}\n"));
    }
    script.push_str(&format!(
        "{} < {OUTPUT} > {OUTPUT} 2> {ERRORS}\n",
        run.join(" ")
    ));
    // Changing a terminal's settings waits until all output has left.
    script.push_str(&format!(
        "status=$?\nstty -opost < {OUTPUT}\nstty -opost < {ERRORS}\nexit $status\n"
    ));
    script
}

/// Passes what a port says on, and standard input to it.
fn pass_on(
    port: UnixListener,
    mut to: impl Write + Send + 'static,
    has_input: bool,
    cancelled: &Arc<AtomicBool>,
) -> Result<JoinHandle<()>, Failure> {
    let cancelled = Arc::clone(cancelled);
    let serve = move || {
        let Ok((mut stream, _)) = port.accept() else {
            return;
        };
        if let Some(input) = stream.try_clone().ok().filter(|_| has_input) {
            thread::spawn(move || {
                // The end of either side ends it.
                let _ = copy_all(&mut io::stdin().lock(), &mut { input });
            });
        }
        if copy_all(&mut stream, &mut to).is_err() {
            // Nobody reads any more: the command has no purpose.
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let thread = thread::Builder::new().name("port".to_owned());
    thread
        .spawn(serve)
        .map_err(Failure::host("cannot start a thread"))
}

/// Copies to the end of `from`. An error is one of `to`.
fn copy_all(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = [0; 4096];
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read])?;
        to.flush()?;
    }
    Ok(())
}

/// The guest's memory as `-m` has it, in MiB; what it cannot read is the VMM's to refuse.
fn guest_mebibytes(memory: &str) -> u64 {
    let digits = memory.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or(0);
    match &memory[digits.len()..] {
        "G" | "g" => number.saturating_mul(1024),
        "K" | "k" => number / 1024,
        _ => number,
    }
}
