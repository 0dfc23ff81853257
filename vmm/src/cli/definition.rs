//! The definition of the options.
//!
//! `cargo xtask install` also generates the manual and the shells' completions from it, so that it depends on clap
//! only.

#[path = "topics.rs"]
pub mod topics;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, Command};

/// Options with a value, and their meaning.
pub const WITH_VALUE: [(&str, &str, &str); 19] = [
    (
        "kernel",
        "FILE",
        "Kernel to boot: a bzImage, or an ELF vmlinux, by PVH where it has a note of that",
    ),
    ("initrd", "FILE", "Initial RAM disk"),
    ("append", "TEXT", "Kernel command line"),
    ("smp", "N", "Number of vCPUs [default: 1]"),
    ("drive", "KEYS", "Disk; repeatable (--help drive)"),
    (
        "device",
        "KEYS",
        "Entropy device, virtio-rng-device; repeatable (--help device)",
    ),
    (
        "vsock",
        "KEYS",
        "Sockets between guest and host, cid=N,socket=PATH (--help vsock)",
    ),
    (
        "fault",
        "RULE",
        "Rule for faults of a disk; repeatable (--help fault)",
    ),
    (
        "fault-profile",
        "FILE",
        "File with such rules, in TOML or JSON; repeatable",
    ),
    (
        "serial",
        "PORT",
        "First serial port: stdio, file:PATH, unix:PATH or null [default: stdio, or null with --qmp stdio]",
    ),
    (
        "qmp",
        "ADDRESS",
        "Monitor: unix:PATH, tcp:HOST:PORT, stdio, fd:N or systemd[:NAME]; repeatable (--help qmp)",
    ),
    (
        "action",
        "ACTIONS",
        "What the machine does when its guest resets itself, shuts down or panics; repeatable (--help action)",
    ),
    ("name", "TEXT", "Name of the machine"),
    (
        "pidfile",
        "FILE",
        "File that holds the program's process ID while it runs",
    ),
    (
        "fault-log",
        "FILE",
        "File that hears of every rule that fires, a line of JSON for each",
    ),
    (
        "fault-replay",
        "FILE",
        "A fault log: what it says happens again, to the same requests",
    ),
    (
        "fault-unfired",
        "warn|fail|ignore",
        "Rules that never fired: a line for each at the end; fail: exit status 3, too [default: warn]",
    ),
    (
        "sandbox",
        "on|off",
        "Confine every thread to the system calls that it needs [default: on]",
    ),
    (
        "m",
        "SIZE",
        "Guest memory, such as 512M or 2G [default: 256M]",
    ),
];

/// Options without a value.
pub const SWITCHES: [(&str, &str); 6] = [
    ("S", "Do not start the vCPUs; 'cont' does"),
    (
        "no-reboot",
        "End when the guest resets itself, instead of starting again",
    ),
    (
        "no-shutdown",
        "Stop, instead of ending, when the guest has shut down",
    ),
    (
        "mem-prealloc",
        "Have all of the guest's memory resident from the start on",
    ),
    (
        "mem-hugepages",
        "Guest memory from the host's pool of huge pages of 2 MiB",
    ),
    (
        "no-acpi",
        "No ACPI tables: the disks are announced on the kernel's command line",
    ),
];

/// Options that may be repeated; of the others, the last one counts.
pub const REPEATABLE: [&str; 6] = ["action", "device", "drive", "fault", "fault-profile", "qmp"];

/// The end of `--help`.
fn after() -> String {
    let topics = topics::names().collect::<Vec<_>>().join(", ");
    format!(
        "Options have one dash or two. '--help OPTION' has the keys and examples of one of {topics}.\n\
         Of QEMU's other options, those that ask for what is so anyway are accepted (-nodefaults, -nographic, \
         -enable-kvm, -cpu host…)."
    )
}

/// The definition.
pub fn command() -> Command {
    let mut command = Command::new("faultvisor")
        .about("Boots a Linux guest whose disk errors are signals over QMP")
        .version(env!("CARGO_PKG_VERSION"))
        .args_override_self(true)
        .after_help(after())
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        );
    for (name, value, help) in WITH_VALUE {
        let arg = Arg::new(name)
            .value_name(value)
            .help(help)
            .allow_hyphen_values(true)
            .action(if REPEATABLE.contains(&name) {
                ArgAction::Append
            } else {
                ArgAction::Set
            });
        let arg = match topics::text(name) {
            Some(text) => arg.long_help(text),
            None => arg,
        };
        command = command.arg(match name {
            "m" => arg.short('m'),
            "append" => arg.long(name),
            _ => arg
                .long(name)
                .value_parser(NonEmptyStringValueParser::new()),
        });
    }
    for (name, help) in SWITCHES {
        let arg = Arg::new(name).help(help).action(ArgAction::SetTrue);
        command = command.arg(match name {
            "S" => arg.short('S'),
            _ => arg.long(name),
        });
    }
    command
}
