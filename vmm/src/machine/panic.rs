//! Applies the panic action when the guest reports a panic.

use faultvisor_devices::legacy::GuestPanic;
use faultvisor_schema::{
    Event, GuestCrashloaded, GuestPanicAction, GuestPanicked, PanicAction, RunState,
    ShutdownAction, ShutdownCause,
};

use super::Machine;

impl Machine {
    /// Handles a panic. The vCPU that reported it is outside the guest, and enters it again only if the machine runs
    /// then.
    pub(super) fn guest_panicked(&mut self, panic: GuestPanic) {
        // A guest that is being reset no longer exists.
        if self.transitions.is_resetting() {
            return;
        }
        match panic {
            GuestPanic::CrashLoaded => {
                let action = GuestPanicAction::Run;
                self.signals
                    .raise(Event::GuestCrashloaded(GuestCrashloaded { action }));
            }
            GuestPanic::Panicked => self.act_on_panic(),
        }
    }

    fn act_on_panic(&mut self) {
        let actions = self.policy.actions;
        let action = match (actions.panic, actions.shutdown) {
            (PanicAction::None, _) => GuestPanicAction::Run,
            (PanicAction::Pause, _) | (PanicAction::Shutdown, ShutdownAction::Pause) => {
                GuestPanicAction::Pause
            }
            (PanicAction::Shutdown | PanicAction::ExitFailure, _) => GuestPanicAction::Poweroff,
        };
        tracing::warn!("the guest has panicked");
        self.tell_of_untaken_disks();
        self.signals
            .raise(Event::GuestPanicked(GuestPanicked { action }));
        match action {
            GuestPanicAction::Run => {}
            GuestPanicAction::Pause => self.halt(RunState::GuestPanicked),
            GuestPanicAction::Poweroff => {
                self.halt(RunState::GuestPanicked);
                self.shut_down(ShutdownCause::GuestPanic, true);
            }
        }
    }
}
