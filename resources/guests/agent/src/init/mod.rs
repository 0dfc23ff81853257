//! The duties of a guest's first process.
//!
//! The kernel's command line decides what the agent is, beside a server of its host:
//!
//! - by default, the guest's init: it mounts what programs need, loads modules, brings the loopback up, and reaps;
//! - with `faultvisor.root=DEVICE`, the same on a disk's file system, which becomes the root;
//! - with `faultvisor.then=PROGRAM`, only the first process: it starts the agent beside itself, and becomes PROGRAM: the
//!   init of a distribution, on its disk or in its own initramfs.

mod command_line;
mod loopback;
mod modules;
mod mounts;
pub mod root;

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use self::command_line::CommandLine;
use crate::kernel_log;
use crate::options::BESIDE;

/// Where the initramfs says which modules to load.
const MODULES: &str = "/etc/faultvisor/modules";
/// Where `/proc` is while an init of the initramfs has not mounted it.
const OWN_PROC: &str = "/.faultvisor";
/// The name of an agent that the end of an initramfs does not end
/// (<https://systemd.io/ROOT_STORAGE_DAEMONS/>).
const SPARED: &str = "@faultvisor-agent";

/// Prepares the guest. What fails is a line of the kernel's log, and the rest goes on.
///
/// # Errors
///
/// There is no root, or the init to become cannot be executed; one line.
pub fn prepare() -> Result<(), String> {
    let own_proc = mounts::proc_at(OWN_PROC);
    let command_line = CommandLine::read(&Path::new(OWN_PROC).join("cmdline"));
    if let Some(then) = &command_line.then
        && command_line.root.is_none()
    {
        modules::load(MODULES);
        let program = Path::new(OWN_PROC).join("self/exe");
        return become_init(&program, then.as_ref(), Some(OWN_PROC)).map(drop);
    }
    mounts::all();
    if own_proc {
        mounts::leave(OWN_PROC);
    }
    modules::load(MODULES);
    loopback::up();
    if let Some(device) = &command_line.root {
        mounts::switch_root(device, &command_line)?;
        mounts::all();
    }
    if let Some(then) = &command_line.then {
        return become_init(Path::new("/proc/self/exe"), then.as_ref(), None).map(drop);
    }
    Ok(())
}

/// Starts the agent beside this process, which becomes another program.
fn become_init(agent: &Path, then: &OsStr, beside: Option<&str>) -> Result<Infallible, String> {
    let mut command = Command::new(agent);
    command.arg0(SPARED);
    if let Some(proc) = beside {
        command.arg(BESIDE).arg(proc);
    }
    if let Err(error) = command.spawn() {
        kernel_log::say(&format!("cannot start beside init: {error}"));
    }
    let arguments = std::env::args_os().skip(1);
    let error = Command::new(then).args(arguments).exec();
    Err(format!("cannot become '{}': {error}", then.display()))
}
