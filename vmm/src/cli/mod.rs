//! The command line: QEMU's option names and value syntax, with one dash or two.

mod action;
mod definition;
mod device;
mod drive;
mod key_value;
mod serial;
mod size;
#[cfg(test)]
mod tests;
mod throttling;
mod volatile_cache;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use faultvisor_monitor::ListenAddress;
use faultvisor_schema::{RebootAction, ShutdownAction};

pub use action::Actions;
pub use drive::{Drive, Format};
pub use serial::SerialPort;
pub use throttling::Throttling;

use definition::{SWITCHES, WITH_VALUE, command};
pub use key_value::switch;
use key_value::{KeyError, KeyValues, nearest};
use size::parse_size;

use crate::faults::{self, FaultsError, GivenRule};
use crate::memory::{self, Backing, Pages, Presence};
use crate::parallel::Threads;

/// Guest memory when `-m` does not say otherwise.
const DEFAULT_MEMORY: u64 = 256 << 20;

/// As many as fit the APIC IDs that the machine's tables can hold without x2APIC.
const MAX_CPUS: u64 = 64;

/// What the machine is to be.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line, before the machine adds its devices.
    pub append: String,
    /// Guest memory in bytes.
    pub memory: u64,
    /// `--mem-hugepages`: what that is made of.
    pub pages: Pages,
    /// `--mem-prealloc`: when it is resident.
    pub presence: Presence,
    /// Number of vCPUs.
    pub cpus: u8,
    /// The disks, in order.
    pub drives: Vec<Drive>,
    /// The rules for their faults, in the order in which the disks look at them.
    pub faults: Vec<GivenRule>,
    /// `--sandbox`: whether the threads are confined.
    pub sandbox: bool,
    /// The first serial port.
    pub serial: SerialPort,
    /// Where the monitor listens.
    pub qmp: Vec<ListenAddress>,
    /// `-S`: do not start the vCPUs.
    pub start_stopped: bool,
    /// `--action`, `--no-reboot` and `--no-shutdown`.
    pub actions: Actions,
    /// False with `--no-acpi`: the guest finds no ACPI tables.
    pub acpi: bool,
    /// `--name`.
    pub name: Option<String>,
    /// `--pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `--fault-log`: where the decisions of the disks' fault engines are written.
    pub fault_log: Option<PathBuf>,
    /// `--fault-replay`: the log whose decisions are repeated.
    pub fault_replay: Option<PathBuf>,
}

impl Configuration {
    /// Whether it has a disk of that name.
    pub fn has_drive(&self, id: &str) -> bool {
        self.drives.iter().any(|drive| drive.disk.id == id)
    }

    /// What guest memory is to be on the host. As in QEMU, it is filled by as many threads as there are vCPUs.
    pub fn backing(&self) -> Backing {
        Backing {
            pages: self.pages,
            presence: self.presence,
            threads: Threads::up_to(self.cpus.into()),
        }
    }
}

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Run a machine.
    Run(Box<Configuration>),
    /// Print this and end well.
    Print(String),
}

/// A command line that cannot be obeyed, in one line that names the thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

impl UsageError {
    fn of(option: &str, reason: &impl ToString) -> Self {
        Self(format!("--{option}: {}", reason.to_string()))
    }
}

/// Gives a long option with one dash its second, and leaves values alone.
fn normalize(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut normalized = Vec::new();
    let mut is_value = true; // The program's name.
    for argument in arguments {
        let text = argument.to_string_lossy().into_owned();
        let bare = text.trim_start_matches('-');
        let is_short = bare == "S"
            || bare == "h"
            || bare.starts_with("m") && {
                bare.len() == 1 || bare[1..].starts_with(|c: char| c.is_ascii_digit() || c == '=')
            };
        let one_dash = text.starts_with('-') && !text.starts_with("--");
        if !is_value && one_dash && !is_short && !bare.is_empty() {
            normalized.push(format!("-{text}").into());
        } else {
            normalized.push(argument);
        }
        is_value =
            !is_value && text.starts_with('-') && WITH_VALUE.iter().any(|(name, ..)| *name == bare);
    }
    normalized
}

/// Understands the command line.
///
/// # Errors
///
/// [`UsageError`] names the option, key or value that cannot be used.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let matches = match command().try_get_matches_from(normalize(arguments)) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Invocation::Print(error.to_string()))
                }
                _ => Err(usage_error(&error)),
            };
        }
    };
    configuration(&matches).map(|configuration| Invocation::Run(Box::new(configuration)))
}

/// One line from clap's several.
fn usage_error(error: &clap::Error) -> UsageError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let name = argument.split_whitespace().next().unwrap_or_default();
    UsageError(match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let options = WITH_VALUE.iter().map(|(name, ..)| *name);
            let switches = SWITCHES.iter().map(|(name, _)| *name);
            let known = options.chain(switches).filter(|name| name.len() > 1);
            match nearest(name.trim_start_matches('-'), known) {
                Some(known) => format!("unknown option '{name}'; did you mean '--{known}'?"),
                None => format!("unknown option '{name}'"),
            }
        }
        ErrorKind::UnknownArgument => format!("unexpected argument '{argument}'"),
        ErrorKind::InvalidValue => format!("option '{name}' needs a value"),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    })
}

fn configuration(matches: &ArgMatches) -> Result<Configuration, UsageError> {
    let text = |name| matches.get_one::<String>(name);
    let all = |name| matches.get_many::<String>(name).into_iter().flatten();
    let kernel = text("kernel").ok_or_else(|| UsageError("--kernel is missing".to_owned()))?;
    let mut drives = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, text) in all("drive").enumerate() {
        let drive = drive::parse(text, index).map_err(|error| UsageError::of("drive", &error))?;
        if !ids.insert(drive.disk.id.clone()) {
            return Err(UsageError(format!(
                "two drives have the id '{}'",
                drive.disk.id
            )));
        }
        drives.push(drive);
    }
    let faults = faults(matches, &drives).map_err(|error| UsageError(error.to_string()))?;
    let mut qmp = Vec::new();
    for text in all("qmp") {
        let address: ListenAddress = text
            .parse()
            .map_err(|error| UsageError::of("qmp", &error))?;
        qmp.push(address);
    }
    let monitor_on_stdio = qmp.iter().any(|address| address.to_string() == "stdio");
    let serial = match text("serial") {
        Some(text) => serial::parse(text).map_err(|error| UsageError::of("serial", &error))?,
        None if monitor_on_stdio => SerialPort::Null,
        None => SerialPort::Stdio,
    };
    if monitor_on_stdio && serial == SerialPort::Stdio {
        return Err(UsageError(
            "--serial and --qmp cannot both be on stdio".to_owned(),
        ));
    }
    let cpus = text("smp").map_or(Ok(1), |text| cpus(text))?;
    if cpus > 1 && matches.get_flag("no-acpi") {
        let reason = "only ACPI tells a guest of more than one vCPU: leave out --no-acpi or --smp";
        return Err(UsageError(reason.to_owned()));
    }
    let pages = match matches.get_flag("mem-hugepages") {
        true => Pages::Pool,
        false => Pages::Transparent,
    };
    Ok(Configuration {
        kernel: kernel.into(),
        initrd: text("initrd").map(Into::into),
        append: text("append").cloned().unwrap_or_default(),
        memory: text("m").map_or(Ok(DEFAULT_MEMORY), |text| memory(text, pages))?,
        pages,
        presence: match matches.get_flag("mem-prealloc") {
            true => Presence::Always,
            false => Presence::OnTouch,
        },
        cpus,
        drives,
        faults,
        serial,
        qmp,
        sandbox: match text("sandbox") {
            Some(word) => switch(word).map_err(|error| UsageError::of("sandbox", &error))?,
            None => true,
        },
        start_stopped: matches.get_flag("S"),
        actions: actions(matches)?,
        acpi: !matches.get_flag("no-acpi"),
        name: text("name").cloned(),
        pidfile: text("pidfile").map(Into::into),
        fault_log: text("fault-log").map(Into::into),
        fault_replay: text("fault-replay").map(Into::into),
    })
}

/// What the two older options ask for, and then `--action`, of which each may change what came before.
fn actions(matches: &ArgMatches) -> Result<Actions, UsageError> {
    let mut actions = Actions::default();
    if matches.get_flag("no-reboot") {
        actions.reboot = RebootAction::Shutdown;
    }
    if matches.get_flag("no-shutdown") {
        actions.shutdown = ShutdownAction::Pause;
    }
    for text in matches.get_many::<String>("action").into_iter().flatten() {
        let set = actions.set(text);
        set.map_err(|error| UsageError::of("action", &error))?;
    }
    Ok(actions)
}

/// The rules of the drives, in their order, and behind them those of `--fault` and
/// `--fault-profile`, in theirs.
fn faults(matches: &ArgMatches, drives: &[Drive]) -> Result<Vec<GivenRule>, FaultsError> {
    let mut given = Vec::new();
    for drive in drives {
        if let Some(path) = &drive.blkdebug {
            given.extend(faults::blkdebug(path, &drive.disk.id)?);
        }
    }
    let of = |name| {
        let places = matches.indices_of(name).into_iter().flatten();
        let texts = matches.get_many::<String>(name).into_iter().flatten();
        places.zip(texts.map(move |text| (name, text)))
    };
    let mut options: Vec<_> = of("fault").chain(of("fault-profile")).collect();
    options.sort_by_key(|(place, _)| *place);
    for (_, (name, text)) in options {
        match name {
            "fault" => given.push(faults::option(text)?),
            _ => given.extend(faults::profile(text.as_ref())?),
        }
    }
    let is_drive = |id: &str| drives.iter().any(|drive| drive.disk.id == id);
    faults::check(&given, is_drive)?;
    Ok(given)
}

/// `-m 512M`, or QEMU's long form `-m size=512M`.
fn memory(text: &str, pages: Pages) -> Result<u64, UsageError> {
    let error = |reason: &dyn std::fmt::Display| UsageError(format!("-m: {reason}"));
    let size = text.strip_prefix("size=").unwrap_or(text);
    let bytes = parse_size(size, 'M').map_err(|reason| error(&reason))?;
    if pages == Pages::Pool && !bytes.is_multiple_of(memory::HUGE_PAGE as u64) {
        return Err(error(&format!(
            "'{text}' is not a multiple of 2 MiB, which --mem-hugepages needs"
        )));
    }
    if bytes.is_multiple_of(4096) && bytes > 0 {
        Ok(bytes)
    } else {
        Err(error(&format!(
            "'{text}' is not a multiple of 4096 bytes above 0"
        )))
    }
}

/// `--smp 2`, or QEMU's long form `--smp cpus=2`.
fn cpus(text: &str) -> Result<u8, UsageError> {
    let number = match text.split_once('=') {
        Some(_) => KeyValues::parse(text, &["cpus"])
            .and_then(|mut keys| keys.take("cpus").ok_or(KeyError::Missing("cpus")))
            .map_err(|error| UsageError::of("smp", &error))?,
        None => text.to_owned(),
    };
    match number.parse::<u64>() {
        Ok(count @ 1..=MAX_CPUS) => u8::try_from(count).map_err(|_| UsageError(number)),
        _ => Err(UsageError(format!(
            "--smp: '{number}' is not a number of vCPUs from 1 to {MAX_CPUS}"
        ))),
    }
}
