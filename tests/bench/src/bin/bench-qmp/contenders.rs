//! The processes to compare, all started before any measurement.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cpus::Cpus;
use crate::peer::Peer;
use crate::{Measured, Options};

/// The processes that answer requests.
pub struct Contenders {
    /// The floor: a bare echo.
    pub echo: Peer,
    /// Faultvisor, if there is a KVM for it.
    pub faultvisor: Option<Peer>,
    /// QEMU, if installed.
    pub qemu: Option<Peer>,
}

impl Contenders {
    /// Starts all of them.
    pub fn start(options: &Options, cpus: &Cpus) -> Measured<Self> {
        let faultvisor = options
            .faultvisor
            .as_deref()
            .zip(options.bare_guest.as_deref());
        Ok(Self {
            echo: Peer::echo(cpus)?,
            faultvisor: faultvisor
                .map(|(program, guest)| faultvisor_with(program, guest, cpus))
                .transpose()?,
            qemu: options
                .qemu
                .as_deref()
                .map(|program| qemu(program, cpus))
                .transpose()?,
        })
    }
}

/// A machine started with `-S`: only its monitor is active.
fn faultvisor_with(program: &Path, guest: &Path, cpus: &Cpus) -> Measured<Peer> {
    Peer::start(cpus, |directory, socket| {
        let script = directory.join("script");
        fs::write(&script, "spin")?;
        let mut command = Command::new(program);
        command.arg("--kernel").arg(guest);
        command.arg("--initrd").arg(script);
        command.args(["--append", "acpi=off", "-m", "48M", "-S"]);
        command.args(["--serial", "null", "--qmp"]);
        command.arg(format!("unix:{}", socket.display()));
        Ok(command)
    })
}

fn qemu(program: &Path, cpus: &Cpus) -> Measured<Peer> {
    Peer::start(cpus, |_, socket| {
        let mut command = Command::new(program);
        command.args(["-M", "none", "-nodefaults", "-no-user-config"]);
        command.args(["-display", "none", "-qmp"]);
        command.arg(format!("unix:{},server=on,wait=off", socket.display()));
        Ok(command)
    })
}
