//! A machine of the command line's options.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use faultvisor_harness::cache::Cache;
use faultvisor_harness::image::GuestImage;
use faultvisor_harness::kernel::Kernel;
use faultvisor_harness::transcript::Transcript;
use faultvisor_harness::{Builder, Machine, NoLine};

use crate::failure::Failure;
use crate::options::MachineOptions;
use crate::progress::Progress;
use crate::report::{self, Form};

/// The beginning of the kernel's command line: its messages and panics are the console's.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t";
/// How long a guest may take to start its agent.
const BOOT: Duration = Duration::from_secs(120);
/// How long one wait for a line takes.
const A_WHILE: Duration = Duration::from_secs(3600);
/// The device of a fault rule that names none.
const FIRST_DISK: &str = "disk0";

/// What a machine boots.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk, whose init starts the agent.
    pub initrd: PathBuf,
}

/// Finds or makes what the machine boots, with the programs that a command needs.
///
/// # Errors
///
/// The kernel, a program, a library or the agent is missing, or a file cannot be written.
pub fn prepare(options: &MachineOptions, command: &[String]) -> Result<Boot, Failure> {
    if let (Some(kernel), Some(initrd)) = (&options.kernel, &options.initrd) {
        // Both are complete: nothing is made, and nothing of this host is needed.
        return Ok(Boot {
            kernel: kernel.into(),
            initrd: initrd.clone(),
        });
    }
    let progress = Progress::start();
    let note = |line: &str| progress.note(line);
    let cache = Cache::of_user()?;
    let kernel = find_kernel(options.kernel.as_deref(), &cache, &note)?;
    if let Some(initrd) = &options.initrd {
        return Ok(Boot {
            kernel: kernel.vmlinux(&cache, &note)?,
            initrd: initrd.clone(),
        });
    }
    let mut image = GuestImage::builder(kernel).command(command);
    for program in &options.programs {
        image = image.program(program.to_string_lossy());
    }
    for module in &options.modules {
        image = image.module(module);
    }
    let image = image.build(&cache, &note)?;
    Ok(Boot {
        kernel: image.kernel,
        initrd: image.initramfs,
    })
}

/// The kernel of an option's value.
///
/// # Errors
///
/// There is no such kernel.
pub fn find_kernel(
    value: Option<&str>,
    cache: &Cache,
    note: &dyn Fn(&str),
) -> Result<Kernel, Failure> {
    match value {
        None => match Kernel::of_host() {
            Ok(kernel) => Ok(kernel),
            // In a container, and where only root may read it.
            Err(_) => Ok(Kernel::package(None, cache, note)?),
        },
        Some("host") => Ok(Kernel::of_host()?),
        Some("debian") => Ok(Kernel::package(None, cache, note)?),
        Some(value) => match value.split_once(':') {
            Some(("debian", package)) => Ok(Kernel::package(Some(package), cache, note)?),
            Some(("image", image)) => Ok(Kernel::of_disk(image.as_ref(), cache, note)?),
            _ => Ok(Kernel::file(value.as_ref())?),
        },
    }
}

/// Starts a machine. With --verbose its output is shown.
///
/// # Errors
///
/// The machine or its guest does not start.
pub fn start(options: &MachineOptions, boot: &Boot, form: Form) -> Result<Machine, Failure> {
    let mut machine = builder(options, boot)?.start()?;
    if options.verbose {
        show(machine.console().transcript().clone(), "console", form)?;
        show(machine.messages().clone(), "message", form)?;
    }
    Ok(machine)
}

/// Waits until the guest's agent is ready.
///
/// # Errors
///
/// The guest ends, panics, or takes too long.
pub fn wait_for_agent(machine: &Machine) -> Result<(), Failure> {
    Ok(machine.wait_for_agent(BOOT)?)
}

fn builder(options: &MachineOptions, boot: &Boot) -> Result<Builder, Failure> {
    let append = format!("{COMMAND_LINE} {}", options.append);
    let mut builder = Machine::builder(&boot.kernel)
        .initrd(&boot.initrd)
        .append(append.trim_end())
        .memory(&options.memory)
        .arg("--smp")
        .arg(options.smp.to_string())
        .vsock();
    if let Some(program) = &options.program {
        builder = builder.program(program);
    }
    for disk in &options.disk {
        builder = builder.disk(disk.disk());
    }
    for rule in &options.fault {
        builder = builder.arg("--fault").arg(with_device(rule, options)?);
    }
    for profile in &options.fault_profile {
        builder = builder.arg("--fault-profile").arg(profile);
    }
    for argument in &options.arguments {
        builder = builder.arg(argument);
    }
    Ok(builder)
}

/// A rule that names its device.
fn with_device(rule: &str, options: &MachineOptions) -> Result<String, Failure> {
    if rule.split(',').any(|part| part.starts_with("device=")) {
        return Ok(rule.to_owned());
    }
    let Some(first) = options.disk.first() else {
        return Err(Failure::Usage(format!(
            "--fault {rule}: there is no disk; --disk 256M adds one"
        )));
    };
    Ok(format!(
        "device={},{rule}",
        first.id().unwrap_or(FIRST_DISK)
    ))
}

/// Shows each line of an output on standard error as it comes: as it is, or as the member of an object.
fn show(transcript: Transcript, member: &'static str, form: Form) -> Result<(), Failure> {
    let show = move || {
        for index in 0.. {
            let line = loop {
                match transcript.line(index, Instant::now() + A_WHILE) {
                    Err(NoLine::TimedOut) => {}
                    line => break line,
                }
            };
            match line {
                Ok(line) => report::passed_on(form, member, &line.text),
                // It was faster than this.
                Err(NoLine::Forgotten) => {}
                Err(_) => return,
            }
        }
    };
    let thread = thread::Builder::new().name(member.to_owned());
    let started = thread.spawn(show);
    started
        .map(drop)
        .map_err(Failure::host("cannot start a thread"))
}
