//! Power cuts: requests in flight end unseen, waiting requests are performed or lost, and the
//! backend loses its volatile cache.

use std::collections::BTreeMap;

use super::Worker;
use super::requests::Pending;
use crate::block::fault::kinds::Kinds;
use crate::block::fault::rng::Chance;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Loss, PowerCut, Then};
use crate::block::model::request::Token;
use crate::life_cycle::Run;
use crate::virtio::block::Done;

/// Tag of the draw that decides whether a waiting request is performed.
const ON_ITS_WAY: u64 = 0x6f6e_7761_7900_0001;

/// Tag of the draw that gives each disk its own seed.
const ON_THIS_DISK: u64 = 0x6469_736b_0000_0001;

/// Hashes a name (FNV-1a).
fn name_number(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |number, byte| {
        (number ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The effect of a power cut on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCutReport {
    /// The cut, with what was to survive.
    pub cut: PowerCut,
    /// The loss, or the errno when what survives could not be written.
    pub result: Result<Loss, Errno>,
    /// What the machine does next, if a rule cut the power.
    pub then: Option<Then>,
}

/// The state of a disk's power.
#[derive(Default)]
pub(super) struct Power {
    /// The power cut in progress.
    cut: Option<(PowerCut, Option<Then>)>,
    /// Callbacks for its end.
    waiting: Vec<Done>,
    /// Requests that it interrupted. They stay unanswered until the machine resumes.
    cut_off: BTreeMap<Token, Pending>,
    /// The run of a resume that came meanwhile.
    resume: Option<Run>,
}

impl Power {
    pub(super) fn is_failing(&self) -> bool {
        self.cut.is_some()
    }

    pub(super) fn cut_off(&mut self, token: Token, pending: Pending) {
        self.cut_off.insert(token, pending);
    }

    /// The requests that it interrupted.
    pub(super) fn waiting_cut_off(&self) -> impl Iterator<Item = (&Token, &Pending)> {
        self.cut_off.iter()
    }

    pub(super) fn resume_later(&mut self, run: Run) {
        self.resume = Some(run);
    }

    /// Drops requests that will never be answered.
    pub(super) fn forget(&mut self) {
        self.cut_off.clear();
    }
}

impl Worker {
    /// Cuts the power, or joins a power cut in progress.
    pub(super) fn power_cut(&mut self, cut: PowerCut, done: Done) {
        self.faults.power.waiting.push(done);
        if !self.faults.power.is_failing() {
            self.cut_power(cut, None);
            self.complete_ended();
        }
    }

    /// Begins a power cut. The device takes no more requests.
    pub(super) fn cut_power(&mut self, cut: PowerCut, then: Option<Then>) {
        self.halt();
        self.faults.power.cut = Some((cut, then));
        let mut waiting = self.faults.drain_parked();
        waiting.extend(self.limiter.drain());
        let seed = self.own_seed(cut.seed);
        for (token, pending) in waiting {
            let kinds = Kinds::of(&pending.request.operation);
            let changes = !Kinds::READ.with(Kinds::FLUSH).contains(kinds);
            let is_done = Chance::new(seed, [ON_ITS_WAY, token.0]).coin();
            if changes && is_done && self.is_on_the_disk(&pending.request) {
                self.start(token, pending);
            } else {
                self.faults.power.cut_off(token, pending);
            }
        }
        self.parts.backend.flush_submissions();
        // Held requests have failed before, without an answer.
        let held = std::mem::take(&mut self.held);
        self.faults.power.cut_off.extend(held);
    }

    /// Ends a power cut. Nothing is in flight.
    pub(super) fn finish_power_cut(&mut self) {
        let Some((cut, then)) = self.faults.power.cut.take() else {
            return;
        };
        let seed = self.own_seed(cut.seed);
        let result = self.parts.backend.power_cut(&PowerCut { seed, ..cut });
        let id = &self.parts.configuration.id;
        match &result {
            Ok(loss) => tracing::info!(
                "disk '{id}': power cut, {} writes lost, {} sectors of them",
                loss.writes,
                loss.sectors
            ),
            Err(errno) => tracing::error!("disk '{id}': power cut: {errno}"),
        }
        let report = PowerCutReport { cut, result, then };
        self.parts.observer.power_cut(&report);
        self.faults.power.waiting.drain(..).for_each(|done| done());
        if let Some(run) = self.faults.power.resume.take() {
            self.resume(run);
        }
    }

    /// This disk's seed. Disks with equal contents, as in a mirror, have different losses.
    fn own_seed(&self, seed: u64) -> u64 {
        let id = &self.parts.configuration.id;
        Chance::new(seed, [ON_THIS_DISK, name_number(id)]).number()
    }

    /// Fails the interrupted requests, which the driver still waits for.
    pub(super) fn fail_cut_off(&mut self) {
        for (token, pending) in std::mem::take(&mut self.faults.power.cut_off) {
            self.end(token, pending, Err(Errno::EIO));
        }
        self.complete_ended();
    }
}
