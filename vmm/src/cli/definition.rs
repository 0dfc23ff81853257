//! The options there are.
//!
//! The manual and the shells' completions are made from it too, by `cargo xtask install`, so it needs nothing but clap.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, Command};

/// Options with a value, and what they mean.
pub const WITH_VALUE: [(&str, &str, &str); 16] = [
    (
        "kernel",
        "FILE",
        "Kernel to boot: a bzImage, or an ELF vmlinux, by PVH where it has a note of that",
    ),
    ("initrd", "FILE", "Initial RAM disk"),
    ("append", "TEXT", "Kernel command line"),
    ("smp", "N", "Number of vCPUs [default: 1]"),
    (
        "drive",
        "KEYS",
        "Disk: file=PATH[,format=raw|qcow2][,backing=on|off][,id=ID][,readonly=on]\
         [,werror=report|ignore|enospc|stop][,rerror=report|ignore|stop][,serial=TEXT]\
         [,cache=writeback|writethrough|none|directsync|unsafe][,aio=io_uring|threads]\
         [,file.locking=on|off|auto][,num-queues=N][,queue-size=N][,logical_block_size=BYTES]\
         [,physical_block_size=BYTES][,discard=unmap|ignore]; write-zeroes, config-wce, event_idx and \
         indirect_desc are on or off; volatile-cache=on\
         [,volatile-cache-size=SIZE]; throttling.bps-total=N and throttling.iops-total=N (and -read, -write, each with -max and -max-length), throttling.iops-size=BYTES, throttling.group=NAME; \
         file=blkdebug:RULES:PATH puts rules in the form of QEMU's blkdebug before it",
    ),
    (
        "fault",
        "RULE",
        "Rule for faults of a disk, by the keys of block-fault-add or as JSON: device=ID,action=error,errno=NAME \
         (or delay, hang, corrupt, torn, drop, misdirect, set-state, stop, power-cut)[,operations.0=read…]\
         [,sector=N][,sectors=N][,state=TEXT][,min-bytes=N][,max-bytes=N][,skip=N][,count=N][,probability=P]\
         [,seed=N][,id=NAME]; repeatable",
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
        "Monitor: unix:PATH, tcp:HOST:PORT, stdio, fd:N or systemd[:NAME], with ,wait=on|off ,protocol=qmp|json-rpc ,max-clients=N ,max-output=BYTES ,allow-remote=on; repeatable",
    ),
    (
        "action",
        "ACTIONS",
        "What the machine does at the ends of its guest's life: [reboot=reset|shutdown][,shutdown=poweroff|pause]\
         [,panic=pause|shutdown|exit-failure|none] [default: reset, poweroff, shutdown]; repeatable",
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

/// The definition.
pub fn command() -> Command {
    let mut command = Command::new("faultvisor")
        .about("Boots a Linux guest whose disk errors are signals over QMP")
        .version(env!("CARGO_PKG_VERSION"))
        .args_override_self(true)
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        );
    for (name, value, help) in WITH_VALUE {
        let repeatable = matches!(name, "action" | "drive" | "fault" | "fault-profile" | "qmp");
        let arg = Arg::new(name)
            .value_name(value)
            .help(help)
            .allow_hyphen_values(true)
            .action(if repeatable {
                ArgAction::Append
            } else {
                ArgAction::Set
            });
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
