//! The machine's transitions: the one under way, what ends it, and the deferred commands.
//!
//! One transition at a time. ARCHITECTURE.md draws the states and the edges between them.

use std::collections::VecDeque;

use faultvisor_devices::block::model::power_cut::{PowerCut, Then};
use faultvisor_schema::{Reply, ShutdownCause};

use crate::vcpu::Generation;

/// One phase of a transition. Its number tells a stale notice of an earlier phase apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Phase(pub u64);

/// The transition under way.
enum Transition {
    /// Nothing: a command takes effect at once.
    Settled,
    /// The machine has stopped; its disks drain.
    Draining(Phase),
    /// Disks lose their power. A stop meanwhile has begun to drain them.
    LosingPower {
        outage: Outage,
        phase: Phase,
        draining: Option<Phase>,
    },
    /// A reset waits for this many vCPUs to end: one that runs could set a disk up again.
    EndingVcpus { reset: Resetting, vcpus: usize },
    /// A reset waits for the devices.
    ResettingDevices { reset: Resetting, phase: Phase },
}

/// A power cut.
pub(super) struct Outage {
    /// The machine's action when the power is back; none during a reset.
    pub then: Option<Then>,
    /// The command that asked for it.
    pub reply: Option<Reply<()>>,
}

/// A disk whose power a rule has cut.
pub(super) struct PowerFailure {
    pub device: String,
    pub cut: PowerCut,
    pub then: Then,
}

/// A reset.
pub(super) struct Resetting {
    pub reason: ShutdownCause,
    pub guest: bool,
    /// The command that asked for it.
    pub reply: Option<Reply<()>>,
    /// A power failure during the reset. The other disks lose their power before the guest starts again.
    pub power_failure: Option<PowerFailure>,
}

/// The effect that a transition has reached.
pub(super) enum Reached {
    /// No request is in flight.
    Drained,
    /// Every disk has its power back.
    PowerBack(Outage),
    /// Nothing of the old virtual machine runs.
    Reset(Resetting),
}

/// A deferred command.
pub(super) enum Deferred {
    /// A `stop` that took effect, answered when the disks have drained.
    Stopped(Reply<()>),
    /// A `stop` behind other deferred commands.
    Stop(Reply<()>),
    /// A `cont`.
    Cont(Reply<()>),
    /// A reset for this reason.
    Reset(ShutdownCause, Reply<()>),
    /// A reset by the guest of this virtual machine.
    GuestReset(Generation),
}

impl Deferred {
    /// Whether it has not taken effect yet, so that later commands must not overtake it.
    fn is_undone(&self) -> bool {
        !matches!(self, Self::Stopped(_))
    }
}

/// The transition under way, and the deferred commands in order of arrival.
pub(super) struct Transitions {
    current: Transition,
    last_phase: Phase,
    pub deferred: VecDeque<Deferred>,
}

impl Transitions {
    /// Nothing is under way.
    pub(super) fn new() -> Self {
        Self {
            current: Transition::Settled,
            last_phase: Phase::default(),
            deferred: VecDeque::new(),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.current, Transition::Settled)
    }

    pub(super) fn is_resetting(&self) -> bool {
        matches!(
            self.current,
            Transition::EndingVcpus { .. } | Transition::ResettingDevices { .. }
        )
    }

    pub(super) fn is_losing_power(&self) -> bool {
        matches!(self.current, Transition::LosingPower { .. })
    }

    /// Whether the machine resets, or a deferred command has not taken effect: later commands are deferred, too.
    pub(super) fn has_undone(&self) -> bool {
        self.is_resetting() || self.deferred.iter().any(Deferred::is_undone)
    }

    /// Begins to drain: the phase ends when the disks have drained. A reset drains them itself, and ignores the phase.
    #[must_use]
    pub(super) fn begin_draining(&mut self) -> Phase {
        let phase = self.next_phase();
        match &mut self.current {
            Transition::Settled | Transition::Draining(_) => {
                self.current = Transition::Draining(phase);
            }
            Transition::LosingPower { draining, .. } => *draining = Some(phase),
            Transition::EndingVcpus { .. } | Transition::ResettingDevices { .. } => {}
        }
        phase
    }

    /// Begins a power cut: the phase ends when every disk has its power back. No power failure or reset may be under
    /// way.
    #[must_use]
    pub(super) fn begin_power_loss(&mut self, outage: Outage) -> Phase {
        let phase = self.next_phase();
        let draining = match self.current {
            Transition::Draining(draining) => Some(draining),
            _ => None,
        };
        self.current = Transition::LosingPower {
            outage,
            phase,
            draining,
        };
        phase
    }

    /// Begins a reset. No power failure or reset may be under way.
    pub(super) fn begin_reset(&mut self, reset: Resetting, vcpus: usize) {
        self.current = Transition::EndingVcpus { reset, vcpus };
    }

    /// Counts a vCPU that has ended. Returns whether it is the last that a reset waits for.
    #[must_use]
    pub(super) fn vcpu_ended(&mut self) -> bool {
        match &mut self.current {
            Transition::EndingVcpus { vcpus, .. } if *vcpus > 0 => {
                *vcpus -= 1;
                *vcpus == 0
            }
            _ => false,
        }
    }

    /// Begins to reset devices after the last vCPU has ended: the phase ends when they have been reset. None outside of
    /// a reset.
    #[must_use]
    pub(super) fn begin_resetting_devices(&mut self) -> Option<Phase> {
        let phase = self.next_phase();
        match std::mem::replace(&mut self.current, Transition::Settled) {
            Transition::EndingVcpus { reset, vcpus: 0 } => {
                self.current = Transition::ResettingDevices { reset, phase };
                Some(phase)
            }
            other => {
                self.current = other;
                None
            }
        }
    }

    /// Defers the first power failure until the reset under way has ended.
    pub(super) fn defer_power_failure(&mut self, failure: PowerFailure) {
        if let Transition::EndingVcpus { reset, .. } | Transition::ResettingDevices { reset, .. } =
            &mut self.current
        {
            reset.power_failure.get_or_insert(failure);
        }
    }

    /// Ends a phase. None for a stale one.
    #[must_use]
    pub(super) fn phase_ended(&mut self, ended: Phase) -> Option<Reached> {
        match std::mem::replace(&mut self.current, Transition::Settled) {
            Transition::Draining(phase) if phase == ended => Some(Reached::Drained),
            Transition::ResettingDevices { reset, phase } if phase == ended => {
                Some(Reached::Reset(reset))
            }
            Transition::LosingPower {
                outage,
                phase,
                draining,
            } if phase == ended => {
                if let Some(draining) = draining {
                    self.current = Transition::Draining(draining);
                }
                Some(Reached::PowerBack(outage))
            }
            Transition::LosingPower {
                outage,
                phase,
                draining,
            } if draining == Some(ended) => {
                self.current = Transition::LosingPower {
                    outage,
                    phase,
                    draining: None,
                };
                None
            }
            other => {
                self.current = other;
                None
            }
        }
    }

    fn next_phase(&mut self) -> Phase {
        self.last_phase = Phase(self.last_phase.0 + 1);
        self.last_phase
    }
}

#[cfg(test)]
mod tests {
    use faultvisor_devices::block::model::power_cut::Survival;

    use super::*;

    fn outage() -> Outage {
        Outage {
            then: Some(Then::Stop),
            reply: None,
        }
    }

    fn reset() -> Resetting {
        Resetting {
            reason: ShutdownCause::HostQmpSystemReset,
            guest: false,
            reply: None,
            power_failure: None,
        }
    }

    fn failure(device: &str) -> PowerFailure {
        PowerFailure {
            device: device.to_owned(),
            cut: PowerCut {
                survival: Survival::None,
                seed: 1,
                tear_bytes: 512,
            },
            then: Then::Stop,
        }
    }

    #[test]
    fn a_stop_is_settled_when_its_disks_have_drained() {
        let mut transitions = Transitions::new();
        let phase = transitions.begin_draining();
        assert!(!transitions.is_settled());
        let reached = transitions.phase_ended(phase);
        assert!(matches!(reached, Some(Reached::Drained)));
        assert!(transitions.is_settled());
        assert!(transitions.phase_ended(phase).is_none());
    }

    #[test]
    fn the_late_end_of_an_earlier_phase_ends_nothing() {
        let mut transitions = Transitions::new();
        let dropped = transitions.begin_draining();
        transitions.begin_reset(reset(), 0);
        assert!(transitions.phase_ended(dropped).is_none());
        let phase = transitions.begin_resetting_devices().unwrap();
        assert!(transitions.phase_ended(dropped).is_none());
        assert!(transitions.is_resetting());
        let reached = transitions.phase_ended(phase);
        assert!(matches!(reached, Some(Reached::Reset(_))));
        let later = transitions.begin_draining();
        assert!(transitions.phase_ended(dropped).is_none());
        assert!(transitions.phase_ended(later).is_some());
    }

    #[test]
    fn a_reset_waits_for_every_vcpu_and_then_for_the_devices() {
        let mut transitions = Transitions::new();
        transitions.begin_reset(reset(), 2);
        assert!(!transitions.vcpu_ended());
        assert_eq!(transitions.begin_resetting_devices(), None);
        assert!(transitions.vcpu_ended());
        assert!(!transitions.vcpu_ended());
        let phase = transitions.begin_resetting_devices().unwrap();
        // The reset drains a concurrent stop.
        let drained = transitions.begin_draining();
        assert!(transitions.phase_ended(drained).is_none());
        assert!(transitions.phase_ended(phase).is_some());
        assert!(transitions.is_settled());
    }

    #[test]
    fn a_power_cut_and_a_stop_proceed_side_by_side() {
        for drained_first in [true, false] {
            let mut transitions = Transitions::new();
            let before = transitions.begin_draining();
            let back = transitions.begin_power_loss(outage());
            if drained_first {
                assert!(transitions.phase_ended(before).is_none());
                assert!(transitions.is_losing_power());
            }
            let reached = transitions.phase_ended(back);
            assert!(matches!(reached, Some(Reached::PowerBack(_))));
            assert_eq!(transitions.is_settled(), drained_first);
            assert_eq!(transitions.phase_ended(before).is_some(), !drained_first);
            assert!(transitions.is_settled());
        }
    }

    #[test]
    fn the_first_power_failure_during_a_reset_follows_it() {
        let mut transitions = Transitions::new();
        transitions.defer_power_failure(failure("nobody resets"));
        transitions.begin_reset(reset(), 0);
        transitions.defer_power_failure(failure("first"));
        let phase = transitions.begin_resetting_devices().unwrap();
        transitions.defer_power_failure(failure("second"));
        let Some(Reached::Reset(reset)) = transitions.phase_ended(phase) else {
            panic!("not reset");
        };
        assert_eq!(reset.power_failure.unwrap().device, "first");
    }
}
