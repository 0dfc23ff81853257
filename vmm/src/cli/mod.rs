//! The command line: QEMU's option names and value syntax, with one dash or two.

mod action;
mod confinement;
mod definition;
mod device;
mod drive;
mod name;
mod processors;
mod qemu;
mod rng;
mod serial;
mod size;
#[cfg(test)]
mod tests;
mod throttling;
mod volatile_cache;
mod vsock;
mod words;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use faultvisor_devices::virtio::rng::RngConfiguration;
use faultvisor_monitor::ListenAddress;
use faultvisor_monitor::option_syntax::{self, KeyValues, OptionError, nearest};
use faultvisor_schema::{RebootAction, ShutdownAction};

pub use action::Actions;
pub use drive::{Drive, Format};
pub use serial::SerialPort;
pub use throttling::Throttling;
pub use vsock::Vsock;

use definition::{SWITCHES, WITH_VALUE, command, topics};
use size::parse_size;
use words::{Spoken, Words};

use crate::faults::{self, FaultsError, GivenRule};
use crate::memory::{self, Backing, Pages, Presence};
use crate::parallel::Threads;

/// The default size of guest memory.
const DEFAULT_MEMORY: u64 = 256 << 20;

/// The description of the machine.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line, before the devices are appended.
    pub append: String,
    /// Guest memory in bytes.
    pub memory: u64,
    /// `--mem-hugepages`: the pages that back it.
    pub pages: Pages,
    /// `--mem-prealloc`: when it becomes resident.
    pub presence: Presence,
    /// Number of vCPUs.
    pub cpus: u8,
    /// The disks, in order.
    pub drives: Vec<Drive>,
    /// The entropy devices (`--device virtio-rng-device`), in order.
    pub rngs: Vec<RngConfiguration>,
    /// `--vsock`: the device for sockets between guest and host.
    pub vsock: Option<Vsock>,
    /// The fault rules, in the order in which the disks evaluate them.
    pub faults: Vec<GivenRule>,
    /// `--sandbox`: whether threads are confined.
    pub sandbox: bool,
    /// The first serial port.
    pub serial: SerialPort,
    /// The monitor's addresses.
    pub qmp: Vec<ListenAddress>,
    /// `-S`: do not start the vCPUs.
    pub start_stopped: bool,
    /// `--action`, `--no-reboot` and `--no-shutdown`.
    pub actions: Actions,
    /// False with `--no-acpi`: there are no ACPI tables.
    pub acpi: bool,
    /// `--name`.
    pub name: Option<String>,
    /// `--pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `--fault-log`: the file for the fault decisions.
    pub fault_log: Option<PathBuf>,
    /// `--fault-replay`: the fault log to replay.
    pub fault_replay: Option<PathBuf>,
    /// `--fault-unfired`: the response to rules that never fired.
    pub fault_unfired: Unfired,
    /// Warnings about options that are accepted and may not be the intended ones.
    pub notes: Vec<String>,
}

/// The response to rules that never fired, at the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfired {
    /// Name them.
    #[default]
    Warn,
    /// Name them, and set an exit status.
    Fail,
    /// None.
    Ignore,
}

impl std::str::FromStr for Unfired {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "warn" => Ok(Self::Warn),
            "fail" => Ok(Self::Fail),
            "ignore" => Ok(Self::Ignore),
            _ => Err("expected warn, fail or ignore"),
        }
    }
}

impl Configuration {
    /// Whether it has a disk of this name.
    pub fn has_drive(&self, id: &str) -> bool {
        self.drives.iter().any(|drive| drive.disk.id == id)
    }

    /// The backing of guest memory. As in QEMU, as many threads as vCPUs populate it.
    pub fn backing(&self) -> Backing {
        Backing {
            pages: self.pages,
            presence: self.presence,
            threads: Threads::up_to(self.cpus.into()),
        }
    }
}

/// The request on the command line.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Run a machine.
    Run(Box<Configuration>),
    /// Print this text and exit with status 0.
    Print(String),
}

/// The command line is invalid: a line for each error, which names the option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\nfaultvisor: "))]
pub struct UsageError(Vec<String>);

impl UsageError {
    fn new(text: impl Into<String>) -> Self {
        Self(vec![text.into()])
    }

    fn of(option: &str, reason: &impl ToString) -> Self {
        let option = words::typed(option);
        Self::new(format!("{option}: {}", reason.to_string()))
    }
}

/// Parses the command line.
///
/// # Errors
///
/// [`UsageError`] names the options, the key or the value that cannot be used.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    match words::read(arguments)? {
        Spoken::Machine(words) => {
            configuration(&words).map(|configuration| Invocation::Run(Box::new(configuration)))
        }
        Spoken::Help(None) => Ok(Invocation::Print(command().render_help().to_string())),
        Spoken::Help(Some(topic)) => help(&topic).map(Invocation::Print),
        Spoken::Version => Ok(Invocation::Print(command().render_version())),
    }
}

/// The warning about an option, if there is one.
fn help(topic: &str) -> Result<String, UsageError> {
    let name = topic.trim_start_matches('-');
    let with_value = WITH_VALUE.iter().find(|(option, ..)| *option == name);
    let switch = SWITCHES.iter().find(|(option, _)| *option == name);
    if let Some(text) = topics::text(name) {
        Ok(text)
    } else if let Some((_, value, help)) = with_value {
        Ok(format!("{} {value}: {help}\n", words::typed(name)))
    } else if let Some((_, help)) = switch {
        Ok(format!("{}: {help}\n", words::typed(name)))
    } else {
        let options = WITH_VALUE.iter().map(|(option, ..)| *option);
        let options = options.chain(SWITCHES.iter().map(|(option, _)| *option));
        let suggestion = option_syntax::suggestion(nearest(name, options));
        Err(UsageError::new(format!(
            "--help: there is no option '{topic}'{suggestion}"
        )))
    }
}

fn configuration(words: &Words) -> Result<Configuration, UsageError> {
    let text = |name| words.text(name);
    let kernel = text("kernel").ok_or_else(|| UsageError::new("--kernel is missing"))?;
    let mut drives = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, (_, text)) in words.all("drive").enumerate() {
        let drive = drive::parse(text, index).map_err(|error| UsageError::of("drive", &error))?;
        if !ids.insert(drive.disk.id.clone()) {
            return Err(UsageError::new(format!(
                "two drives have the id '{}'",
                drive.disk.id
            )));
        }
        drives.push(drive);
    }
    let mut rngs = Vec::new();
    for (index, (_, text)) in words.all("device").enumerate() {
        let rng = rng::parse(text, index).map_err(|error| UsageError::of("device", &error))?;
        if !ids.insert(rng.id.clone()) {
            return Err(UsageError::new(format!(
                "two devices have the id '{}'",
                rng.id
            )));
        }
        rngs.push(rng);
    }
    let faults = faults(words, &drives).map_err(|error| UsageError::new(error.to_string()))?;
    let mut qmp = Vec::new();
    for (_, text) in words.all("qmp") {
        let address: ListenAddress = text
            .parse()
            .map_err(|error| UsageError::of("qmp", &error))?;
        qmp.push(address);
    }
    let monitor_on_stdio = qmp.iter().any(|address| address.to_string() == "stdio");
    if words.all("serial").count() > 1 {
        return Err(UsageError::new(
            "--serial: there is one serial port, and it is given twice",
        ));
    }
    let serial = match text("serial") {
        Some(text) => serial::parse(text).map_err(|error| UsageError::of("serial", &error))?,
        None if monitor_on_stdio && !words.nographic => SerialPort::Null,
        None => SerialPort::Stdio,
    };
    if monitor_on_stdio && serial == SerialPort::Stdio {
        return Err(UsageError::new(
            "--serial and --qmp cannot both be on stdio",
        ));
    }
    if words.all("vsock").count() > 1 {
        return Err(UsageError::new(
            "--vsock: there is one vsock device, and it is given twice",
        ));
    }
    let vsock = text("vsock").map(vsock::parse).transpose();
    let cpus = text("smp").map_or(Ok(1), processors::parse);
    let cpus = cpus.map_err(|error| UsageError::of("smp", &error))?;
    if cpus > 1 && words.flag("no-acpi") {
        let reason = "only ACPI tells a guest of more than one vCPU: leave out --no-acpi or --smp";
        return Err(UsageError::new(reason));
    }
    let name = text("name").map_or(Ok(None), name::parse);
    let pages = match words.flag("mem-hugepages") {
        true => Pages::Pool,
        false => Pages::Transparent,
    };
    Ok(Configuration {
        kernel: kernel.into(),
        initrd: text("initrd").map(Into::into),
        append: text("append").unwrap_or_default().to_owned(),
        memory: text("m").map_or(Ok(DEFAULT_MEMORY), |text| memory(text, pages))?,
        pages,
        presence: match words.flag("mem-prealloc") {
            true => Presence::Always,
            false => Presence::OnTouch,
        },
        cpus,
        drives,
        rngs,
        vsock: vsock.map_err(|error| UsageError::of("vsock", &error))?,
        faults,
        serial,
        qmp,
        sandbox: text("sandbox")
            .map_or(Ok(true), confinement::parse)
            .map_err(|error| UsageError::of("sandbox", &error))?,
        start_stopped: words.flag("S"),
        actions: actions(words)?,
        acpi: !words.flag("no-acpi"),
        name: name.map_err(|error| UsageError::of("name", &error))?,
        pidfile: text("pidfile").map(Into::into),
        fault_log: text("fault-log").map(Into::into),
        fault_replay: text("fault-replay").map(Into::into),
        fault_unfired: match text("fault-unfired") {
            Some(word) => word
                .parse()
                .map_err(|error| UsageError::of("fault-unfired", &error))?,
            None => Unfired::default(),
        },
        notes: words.notes(),
    })
}

/// Applies the two older options, and then `--action`, in order.
fn actions(words: &Words) -> Result<Actions, UsageError> {
    let mut actions = Actions::default();
    if words.flag("no-reboot") {
        actions.reboot = RebootAction::Shutdown;
    }
    if words.flag("no-shutdown") {
        actions.shutdown = ShutdownAction::Pause;
    }
    for (_, text) in words.all("action") {
        let set = actions.set(text);
        set.map_err(|error| UsageError::of("action", &error))?;
    }
    Ok(actions)
}

/// The drives' rules, in their order, followed by those of `--fault` and `--fault-profile`, in theirs.
fn faults(words: &Words, drives: &[Drive]) -> Result<Vec<GivenRule>, FaultsError> {
    let mut given = Vec::new();
    for drive in drives {
        if let Some(path) = &drive.blkdebug {
            given.extend(faults::blkdebug(path, &drive.disk.id)?);
        }
    }
    let of = |name| {
        words
            .all(name)
            .map(move |(place, text)| (place, (name, text)))
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

/// Parses QEMU's `[size=]SIZE[,slots=0][,maxmem=SIZE]` of `-m`, without hot-plug.
fn memory(text: &str, pages: Pages) -> Result<u64, UsageError> {
    let size = || -> Result<(String, u64), OptionError> {
        let mut keys = KeyValues::parse_implying("size", text, &["size", "slots", "maxmem"], &[])?;
        let word = keys.take("size").ok_or(OptionError::Missing("size"))?;
        let bytes =
            parse_size(&word, 'M').map_err(|error| OptionError::Other(error.to_string()))?;
        keys.take_with("slots", |word| match word.parse() {
            Ok(0) => Ok(()),
            Ok::<u64, _>(_) | Err(_) => Err("memory cannot be added; expected 0"),
        })?;
        keys.take_with("maxmem", |most| match parse_size(most, 'M') {
            Ok(most) if most == bytes => Ok(()),
            Ok(_) => Err(format!("memory cannot be added; expected {word}")),
            Err(error) => Err(error.to_string()),
        })?;
        Ok((word, bytes))
    };
    let (word, bytes) = size().map_err(|error| UsageError::of("m", &error))?;
    let refuse = |why: &str| {
        Err(UsageError::of(
            "m",
            &format!("'{word}' is not a multiple of {why}"),
        ))
    };
    if pages == Pages::Pool && !bytes.is_multiple_of(memory::HUGE_PAGE as u64) {
        refuse("2 MiB, which --mem-hugepages needs")
    } else if !bytes.is_multiple_of(4096) || bytes == 0 {
        refuse("4096 bytes above 0")
    } else {
        Ok(bytes)
    }
}
