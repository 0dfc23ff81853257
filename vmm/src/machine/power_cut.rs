//! Power cuts: every disk loses its power, whoever asked for it, and then the machine does what it
//! is to do after that.

use faultvisor_devices::block::fault::power_cut;
use faultvisor_devices::block::model::power_cut::{PowerCut, Survival, Then};
use faultvisor_devices::virtio::block::PowerCutReport;
use faultvisor_schema::{
    BlockPowerCut, BlockPowerCutArguments, BlockPowerCutSurvive, CommandError, Reply, RunState,
    ShutdownCause,
};

use super::Machine;
use super::disks::MachineDisk;
use crate::faults;

/// A power cut that waits for disks.
pub(super) struct Cutting {
    then: Then,
    /// Disks that have not got their power back.
    disks: usize,
    reply: Option<Reply<()>>,
}

impl Machine {
    /// `block-power-cut`, answered when every disk has its power back and the machine has done what comes then.
    pub(super) fn power_cut_command(
        &mut self,
        arguments: &BlockPowerCutArguments,
        reply: Reply<()>,
    ) {
        if self.cutting.is_some() || self.resetting.is_some() {
            let message = "The machine is being reset, or its power is failing, already";
            return reply.send(Err(CommandError::generic(message)));
        }
        match power_cut(arguments) {
            Ok((cut, then)) => {
                self.tell_of_lossless_cut(cut.survival);
                self.cut_power(cut, then, None, Some(reply));
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    /// A power cut that is to lose something, of a machine that has nothing to lose.
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

    /// A rule has cut the power of one disk.
    pub(super) fn power_failed(&mut self, device: &str, cut: PowerCut, then: Then) {
        // What cuts the power a second time while it is failing changes nothing.
        if self.cutting.is_none() {
            self.cut_power(cut, then, Some(device), None);
        }
    }

    fn cut_power(
        &mut self,
        cut: PowerCut,
        then: Then,
        but: Option<&str>,
        reply: Option<Reply<()>>,
    ) {
        let mut disks = 0;
        for disk in self.disks.iter().filter(|disk| Some(disk.id()) != but) {
            disk.power_cut(cut, &self.sender);
            disks += 1;
        }
        self.cutting = Some(Cutting { then, disks, reply });
        self.finish_power_cut();
    }

    /// A disk that was asked to lose its power has got it back.
    pub(super) fn power_is_back(&mut self) {
        if let Some(cutting) = &mut self.cutting {
            cutting.disks = cutting.disks.saturating_sub(1);
        }
        self.finish_power_cut();
    }

    fn finish_power_cut(&mut self) {
        let Some(Cutting { then, reply, .. }) = self.cutting.take_if(|cutting| cutting.disks == 0)
        else {
            return;
        };
        match (then, reply) {
            // Not behind a command that waits: what is left of the disks must not meet a guest that goes on.
            (Then::Reset, Some(reply)) if self.resetting.is_none() => {
                self.reset(ShutdownCause::HostQmpSystemReset, false, Some(reply));
            }
            (Then::Reset, Some(reply)) => {
                self.reset_in_turn(ShutdownCause::HostQmpSystemReset, reply);
            }
            (Then::Reset, None) => {
                if self.resetting.is_none() {
                    self.reset(ShutdownCause::HostQmpSystemReset, false, None);
                }
            }
            (Then::Stop, reply) => {
                self.stop(RunState::Paused);
                if let Some(reply) = reply {
                    self.answer_stopped(reply);
                }
            }
            (Then::Quit, reply) => {
                self.end(ShutdownCause::HostQmpQuit);
                if let Some(reply) = reply {
                    reply.done();
                }
            }
        }
    }
}

/// What a command asks for.
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

/// The event that tells of a power cut.
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
