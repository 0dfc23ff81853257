//! Power cuts: every disk loses its power, then the machine resets, stops or ends.

use faultvisor_devices::block::fault::power_cut;
use faultvisor_devices::block::model::power_cut::{PowerCut, Survival, Then};
use faultvisor_devices::virtio::block::PowerCutReport;
use faultvisor_schema::{
    BlockPowerCut, BlockPowerCutArguments, BlockPowerCutSurvive, CommandError, Reply, RunState,
    ShutdownCause,
};

use super::Machine;
use super::disks::MachineDisk;
use super::transition::{Deferred, Outage, PowerFailure};
use crate::faults;
use crate::inbox::Notice;

impl Machine {
    /// `block-power-cut`, answered when every disk has its power back and the machine has executed `then`.
    pub(super) fn power_cut_command(
        &mut self,
        arguments: &BlockPowerCutArguments,
        reply: Reply<()>,
    ) {
        if self.transitions.is_losing_power() || self.transitions.is_resetting() {
            let message = "The machine is being reset, or its power is failing, already";
            return reply.send(Err(CommandError::generic(message)));
        }
        match power_cut(arguments) {
            Ok((cut, then)) => {
                self.tell_of_lossless_cut(cut.survival);
                let outage = Outage {
                    then: Some(then),
                    reply: Some(reply),
                };
                self.cut_power(cut, outage, None);
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    /// Warns of a lossy power cut on a machine without a volatile cache.
    fn tell_of_lossless_cut(&self, survival: Survival) {
        let has_none = !self.disks.iter().any(MachineDisk::has_volatile_cache);
        if has_none
            && survival != Survival::All
            && let Some(disk) = self.disks.first()
        {
            let text = faults::lossless_power_cut(disk.id());
            tracing::warn!("block-power-cut: {text}");
        }
    }

    /// Handles a rule's power cut of one disk. A cut during a power failure has no effect.
    pub(super) fn power_failed(&mut self, failure: PowerFailure) {
        if self.transitions.is_resetting() {
            self.transitions.defer_power_failure(failure);
        } else if !self.transitions.is_losing_power() {
            let outage = Outage {
                then: Some(failure.then),
                reply: None,
            };
            self.cut_power(failure.cut, outage, Some(&failure.device));
        }
    }

    /// Completes a power failure that occurred during a reset. That reset is the failure's reset.
    pub(super) fn power_fails_after_reset(&mut self, failure: &PowerFailure) {
        let outage = Outage {
            then: Some(failure.then).filter(|then| *then != Then::Reset),
            reply: None,
        };
        self.cut_power(failure.cut, outage, Some(&failure.device));
    }

    fn cut_power(&mut self, cut: PowerCut, outage: Outage, but: Option<&str>) {
        let phase = self.transitions.begin_power_loss(outage);
        let is_back = self.sender.promise(Notice::PhaseEnded(phase)).shared();
        for disk in self.disks.iter().filter(|disk| Some(disk.id()) != but) {
            disk.power_cut(cut, is_back.share());
        }
    }

    /// Handles the return of power to every disk. `then` precedes deferred commands: a guest must not continue on disks
    /// that lost data.
    pub(super) fn power_is_back(&mut self, outage: Outage) {
        let Outage { then, reply } = outage;
        match then {
            Some(Then::Reset) => self.reset(ShutdownCause::HostQmpSystemReset, false, reply),
            Some(Then::Stop) => {
                self.stop(RunState::Paused);
                if let Some(reply) = reply {
                    let answer = Deferred::Stopped(reply);
                    self.transitions.deferred.push_front(answer);
                }
            }
            Some(Then::Quit) => {
                self.end(ShutdownCause::HostQmpQuit);
                if let Some(reply) = reply {
                    reply.done();
                }
            }
            None => {}
        }
        self.settle();
    }
}

/// Decodes a command's arguments.
fn power_cut(arguments: &BlockPowerCutArguments) -> Result<(PowerCut, Then), CommandError> {
    let BlockPowerCutArguments {
        survive,
        seed,
        tear_bytes,
        then,
    } = *arguments;
    let tear_bytes = power_cut::tear_bytes(tear_bytes)
        .map_err(|error| CommandError::generic(error.to_string()))?;
    let cut = PowerCut {
        survival: power_cut::survival(survive),
        seed: match seed {
            Some(seed) => seed,
            None => super::faults::seed()?,
        },
        tear_bytes,
    };
    Ok((cut, power_cut::then(then)))
}

/// The event of a power cut.
pub(super) fn event(device: &str, report: &PowerCutReport) -> BlockPowerCut {
    let loss = report.result.unwrap_or_default();
    BlockPowerCut {
        device: device.to_owned(),
        survive: match report.cut.survival {
            Survival::None => BlockPowerCutSurvive::None,
            Survival::All => BlockPowerCutSurvive::All,
            Survival::Prefix => BlockPowerCutSurvive::Prefix,
            Survival::Random => BlockPowerCutSurvive::Random,
        },
        seed: report.cut.seed,
        writes: loss.writes,
        sectors: loss.sectors,
        error: report.result.err().map(|errno| errno.to_string()),
    }
}
