//! The end of the guest.

use faultvisor_agent_protocol::request::{Power, PowerAction};
use rustix::system::{RebootCommand, reboot};

use crate::kernel_log;

/// Syncs the file systems and ends the guest.
pub fn end(request: Power) {
    rustix::fs::sync();
    let command = match request.action {
        PowerAction::Reboot => RebootCommand::Restart,
        _ => RebootCommand::PowerOff,
    };
    if let Err(error) = reboot(command) {
        kernel_log::say(&format!("cannot end the guest: {error}"));
    }
}
