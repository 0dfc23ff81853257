//! Disks that no driver has activated, reported when the guest has ended, perhaps for lack of them.

use super::Machine;
use super::disks::MachineDisk;

impl Machine {
    /// Reports, once, the disks that no driver has activated.
    pub(super) fn tell_of_untaken_disks(&mut self) {
        if !std::mem::take(&mut self.tells_of_untaken_disks) {
            return;
        }
        let untaken: Vec<_> = self
            .disks
            .iter()
            .filter(|disk| !disk.was_driven())
            .map(MachineDisk::id)
            .collect();
        if !untaken.is_empty() {
            let needed = self.guest.needed_for_disks();
            tracing::warn!(
                "no driver ever took {}: a Linux kernel needs {needed}",
                listed(&untaken)
            );
        }
    }
}

fn listed(ids: &[&str]) -> String {
    let quoted: Vec<_> = ids.iter().map(|id| format!("'{id}'")).collect();
    match quoted.len() {
        1 => format!("disk {}", quoted.concat()),
        _ => format!("disks {}", quoted.join(", ")),
    }
}
