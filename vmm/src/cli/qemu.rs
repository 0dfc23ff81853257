//! QEMU's other options: those that state what holds here are accepted, the others are refused with their equivalent.

use faultvisor_monitor::option_syntax::parts;

use super::rng;

/// The treatment of an option of QEMU's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It holds here, and is accepted.
    True,
    /// It does not; this is the equivalent.
    No(String),
}

/// The accepted values of an option.
enum Truth {
    /// The option has no value.
    Switch,
    /// These values, and the error for others.
    Values(&'static [&'static str], &'static str),
}

const NO_DISPLAY: &str = "there is no display: the guest's output is on --serial";
const NO_NETWORK: &str = "there is no network device";
const NO_PORT: &str = "there is one serial port and no other port: --serial";
const QMP: &str = "the monitor speaks QMP: --qmp";
const ONE_MACHINE: &str = "there is one kind of machine, with KVM: leave it out";

/// The accepted options.
const TRUE: [(&str, Truth); 16] = [
    ("nodefaults", Truth::Switch),
    ("no-user-config", Truth::Switch),
    ("enable-kvm", Truth::Switch),
    // The serial port is on standard input and output by default, and Ctrl-A X ends the program there, too.
    ("nographic", Truth::Switch),
    ("no-hpet", Truth::Switch),
    ("no-fd-bootchk", Truth::Switch),
    ("display", Truth::Values(&["none"], NO_DISPLAY)),
    ("vga", Truth::Values(&["none"], NO_DISPLAY)),
    ("monitor", Truth::Values(&["none", "null"], QMP)),
    ("parallel", Truth::Values(&["none", "null"], NO_PORT)),
    ("net", Truth::Values(&["none"], NO_NETWORK)),
    ("nic", Truth::Values(&["none"], NO_NETWORK)),
    (
        "cpu",
        Truth::Values(
            &["host", "max"],
            "the guest has the host's CPU, as with -cpu host",
        ),
    ),
    ("accel", Truth::Values(&["kvm", "accel=kvm"], ONE_MACHINE)),
    ("machine", Truth::Values(&["accel=kvm"], ONE_MACHINE)),
    ("M", Truth::Values(&["accel=kvm"], ONE_MACHINE)),
];

const NO_FIRMWARE: &str = "there is no firmware: a kernel is started directly, by --kernel";
const NO_MIGRATION: &str = "a machine's state can be neither saved nor moved";
const NO_SUCH_DEVICE: &str = "there is no such device";
const LOG: &str = "the environment variable FAULTVISOR_LOG (error, warn, info, debug, trace, off) says how much is \
                   logged to standard error";
const ADDRESS: &str = "--serial and --qmp take the address themselves, as --qmp unix:PATH";

/// The refused options: name, whether it has a value, equivalent. `{}` stands for the value.
const REFUSED: &[(&str, bool, &str)] = &[
    ("hda", true, "disks are virtio-blk: --drive file={}"),
    ("hdb", true, "disks are virtio-blk: --drive file={}"),
    ("hdc", true, "disks are virtio-blk: --drive file={}"),
    ("hdd", true, "disks are virtio-blk: --drive file={}"),
    ("sd", true, "disks are virtio-blk: --drive file={}"),
    ("fda", true, "disks are virtio-blk: --drive file={}"),
    ("fdb", true, "disks are virtio-blk: --drive file={}"),
    (
        "cdrom",
        true,
        "disks are virtio-blk: --drive file={},readonly=on",
    ),
    (
        "blockdev",
        true,
        "image and disk are given in one: --drive file=PATH,format=raw,id=ID",
    ),
    (
        "snapshot",
        false,
        "write to an overlay: qemu-img create -f qcow2 -b BASE -F raw OVERLAY, and --drive file=OVERLAY",
    ),
    ("chardev", true, ADDRESS),
    ("mon", true, QMP),
    (
        "qmp-pretty",
        true,
        "--qmp has the monitor, and the program 'qmp' makes its answers readable",
    ),
    (
        "object",
        true,
        "there are no objects: each disk has a thread of its own, and memory is -m, --mem-prealloc, --mem-hugepages",
    ),
    ("netdev", true, NO_NETWORK),
    (
        "mem-path",
        true,
        "huge pages are had by --mem-hugepages, without a path",
    ),
    ("bios", true, NO_FIRMWARE),
    ("pflash", true, NO_FIRMWARE),
    ("boot", true, NO_FIRMWARE),
    ("option-rom", true, NO_FIRMWARE),
    ("L", true, NO_FIRMWARE),
    ("fw_cfg", true, NO_FIRMWARE),
    ("smbios", true, NO_FIRMWARE),
    ("acpitable", true, "the ACPI tables are the machine's own"),
    ("dtb", true, "a machine for x86-64 has no device tree"),
    ("shim", true, NO_FIRMWARE),
    ("vnc", true, NO_DISPLAY),
    ("spice", true, NO_DISPLAY),
    ("k", true, NO_DISPLAY),
    ("g", true, NO_DISPLAY),
    ("full-screen", false, NO_DISPLAY),
    ("sdl", false, NO_DISPLAY),
    ("curses", false, NO_DISPLAY),
    (
        "daemonize",
        false,
        "run the program in the background, with --pidfile, --qmp and --serial file:PATH",
    ),
    (
        "runas",
        true,
        "start the program as the user that it is to be",
    ),
    (
        "run-with",
        true,
        "start the program as the user, and in the root, that it is to have",
    ),
    (
        "chroot",
        true,
        "start the program in the root that it is to have",
    ),
    ("s", false, "there is no server for gdb"),
    ("gdb", true, "there is no server for gdb"),
    ("d", true, LOG),
    ("D", true, "the log is on standard error: 2>{}"),
    ("trace", true, LOG),
    ("dfilter", true, LOG),
    ("msg", true, LOG),
    ("incoming", true, NO_MIGRATION),
    ("loadvm", true, NO_MIGRATION),
    ("only-migratable", false, NO_MIGRATION),
    ("dump-vmstate", true, NO_MIGRATION),
    (
        "rtc",
        true,
        "the clock is the host's, in UTC, and cannot be set",
    ),
    ("icount", true, "with KVM the guest's time is the host's"),
    ("uuid", true, "a machine has a name, by --name, and no UUID"),
    ("numa", true, "the guest has one NUMA node"),
    (
        "overcommit",
        true,
        "memory is locked by nothing here; --mem-prealloc has it resident",
    ),
    ("watchdog", true, NO_SUCH_DEVICE),
    ("watchdog-action", true, NO_SUCH_DEVICE),
    ("usb", false, NO_SUCH_DEVICE),
    ("usbdevice", true, NO_SUCH_DEVICE),
    ("audio", true, NO_SUCH_DEVICE),
    ("audiodev", true, NO_SUCH_DEVICE),
    ("tpmdev", true, NO_SUCH_DEVICE),
    (
        "virtfs",
        true,
        "a directory of the host cannot be shared: put it into a disk or the initrd",
    ),
    (
        "fsdev",
        true,
        "a directory of the host cannot be shared: put it into a disk or the initrd",
    ),
    ("virtioconsole", true, NO_PORT),
    ("debugcon", true, NO_PORT),
    (
        "global",
        true,
        "the properties of a disk are keys of its --drive",
    ),
    (
        "set",
        true,
        "the properties of a disk are keys of its --drive",
    ),
    ("readconfig", true, "give the options themselves"),
    (
        "compat",
        true,
        "there are no deprecated parts to choose about",
    ),
    ("plugin", true, "with KVM there is nothing to translate"),
];

/// Whether an option of QEMU's has a value, if it is one.
pub(super) fn takes_value(name: &str) -> Option<bool> {
    let mut accepted = TRUE.iter();
    if let Some((_, truth)) = accepted.find(|(known, _)| *known == name) {
        return Some(matches!(truth, Truth::Values(..)));
    }
    let mut refused = REFUSED.iter();
    let found = refused.find(|(known, ..)| *known == name);
    found.map(|(_, has_value, _)| *has_value)
}

/// The names of those that are accepted.
pub(super) fn accepted() -> impl Iterator<Item = &'static str> {
    TRUE.iter().map(|(name, _)| *name)
}

/// The treatment of an option of QEMU's with this value; `None` for a name that QEMU does not have.
pub(super) fn answer(name: &str, value: Option<&str>) -> Option<Answer> {
    let no = |text: &str| Some(Answer::No(text.to_owned()));
    if let Some((_, truth)) = TRUE.iter().find(|(known, _)| *known == name) {
        return match (truth, value) {
            (Truth::Switch, None) => Some(Answer::True),
            (Truth::Switch, Some(_)) => no("takes no value"),
            (Truth::Values(values, _), Some(value)) if values.contains(&value) => {
                Some(Answer::True)
            }
            (Truth::Values(values, otherwise), _) => Some(Answer::No(format!(
                "{otherwise} (accepted: {})",
                values.join(", ")
            ))),
        };
    }
    let (.., text) = REFUSED.iter().find(|(known, ..)| *known == name)?;
    no(&text.replace("{}", value.unwrap_or("PATH")))
}

/// The equivalent of a `-device` that is none here, or nothing for one that is.
pub(super) fn other_device(value: &str) -> Option<String> {
    let first = parts(value).into_iter().next().unwrap_or_default();
    let kind = match first.pair() {
        Some(("driver", kind)) => kind,
        _ => first.text(),
    };
    if kind == rng::DRIVER {
        return None;
    }
    Some(equivalent(kind))
}

fn equivalent(kind: &str) -> String {
    if ["virtio-blk", "scsi-hd", "ide-hd", "nvme", "usb-storage"]
        .iter()
        .any(|disk| kind.starts_with(disk))
    {
        return "a --drive is a virtio-blk disk by itself, with the device's properties among its keys (see --help \
                drive): --drive file=PATH,format=raw,id=ID"
            .to_owned();
    }
    match kind {
        "isa-serial" | "pci-serial" | "virtconsole" | "virtserialport" => NO_PORT.to_owned(),
        "virtio-rng" | "virtio-rng-pci" | "virtio-rng-ccw" => {
            format!("devices are on virtio-mmio: --device {}", rng::DRIVER)
        }
        "vhost-vsock"
        | "vhost-vsock-device"
        | "vhost-vsock-pci"
        | "vhost-user-vsock-device"
        | "vhost-user-vsock-pci" => {
            "sockets between guest and host are of unix sockets: --vsock cid=N,socket=PATH"
                .to_owned()
        }
        "pvpanic" | "pvpanic-pci" => "every machine has pvpanic: leave it out".to_owned(),
        _ => format!(
            "there is no device '{kind}': a machine has disks, by --drive, and a serial port, by --serial"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_answered_in_two_ways() {
        let mut names: Vec<_> = TRUE.iter().map(|(name, _)| *name).collect();
        names.extend(REFUSED.iter().map(|(name, ..)| *name));
        let own = super::super::definition::WITH_VALUE.iter();
        names.extend(own.map(|(name, ..)| *name));
        let own = super::super::definition::SWITCHES.iter();
        names.extend(own.map(|(name, _)| *name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
