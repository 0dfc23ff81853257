//! Saving and restoring the registers of a virtio-mmio device, and the device behind them.

use serde::{Deserialize, Serialize};

use super::interrupt::CAUSES;
use super::{MmioTransport, QueueRegisters, Registers};
use crate::life_cycle::{RestoreError, SaveError, State};
use crate::sync::lock;
use crate::virtio::transport::status;

/// All bits of the device status.
pub(super) const STATUS_BITS: u32 = status::ACKNOWLEDGE
    | status::DRIVER
    | status::DRIVER_OK
    | status::FEATURES_OK
    | status::DEVICE_NEEDS_RESET
    | status::FAILED;

/// The registers and the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MmioState {
    device_id: u32,
    device_status: u32,
    interrupt_status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    queues: Vec<QueueRegisters>,
    device: State,
}

impl MmioTransport {
    pub(super) fn save_registers(&self) -> Result<State, SaveError> {
        // Not held: the device's thread takes the lock when it falls asleep.
        let registers = lock(&self.registers).clone();
        if !registers.is_quiesced || registers.is_resetting {
            return Err(SaveError::Busy);
        }
        State::of(&MmioState {
            device_id: self.device.device_id(),
            device_status: self.interrupt.device_status(),
            interrupt_status: self.interrupt.interrupt_status(),
            device_features_sel: registers.device_features_sel,
            driver_features_sel: registers.driver_features_sel,
            driver_features: registers.driver_features,
            queue_sel: registers.queue_sel,
            queues: registers.queues,
            device: self.device.save()?,
        })
    }

    pub(super) fn restore_registers(&self, state: &State) -> Result<(), RestoreError> {
        let state: MmioState = state.decode()?;
        self.check(&state)?;
        {
            let registers = lock(&self.registers);
            if !registers.is_quiesced || registers.is_resetting {
                return Err(RestoreError::Busy);
            }
        }
        let is_active = state.device_status & (status::DRIVER_OK | status::DEVICE_NEEDS_RESET);
        let is_active = is_active == status::DRIVER_OK;
        let queue = |saved: &QueueRegisters| (is_active && saved.ready).then_some(saved.queue);
        let queues = state.queues.iter().map(queue).collect();
        self.device.restore(&state.device, &queues)?;
        let mut registers = lock(&self.registers);
        *registers = Registers {
            transitions: registers.transitions,
            device_features_sel: state.device_features_sel,
            driver_features_sel: state.driver_features_sel,
            driver_features: state.driver_features,
            queue_sel: state.queue_sel,
            queues: state.queues,
            is_resetting: false,
            is_quiesced: true,
        };
        self.interrupt
            .set(state.device_status, state.interrupt_status);
        if is_active {
            self.activate(&registers);
        }
        Ok(())
    }

    /// Refuses values that the registers of such a device never have.
    fn check(&self, state: &MmioState) -> Result<(), RestoreError> {
        let mismatch = |what, saved: &dyn ToString, own: &dyn ToString| RestoreError::Mismatch {
            what,
            saved: saved.to_string(),
            own: own.to_string(),
        };
        let device_id = self.device.device_id();
        if state.device_id != device_id {
            return Err(mismatch("device ID", &state.device_id, &device_id));
        }
        let queues = self.device.queue_sizes().len();
        if state.queues.len() != queues {
            return Err(mismatch("queues", &state.queues.len(), &queues));
        }
        let out_of_range = |member, value| RestoreError::OutOfRange { member, value };
        let MmioState {
            device_status,
            interrupt_status,
            driver_features,
            ..
        } = *state;
        let agreed = device_status & status::FEATURES_OK != 0;
        let runs = device_status & status::DRIVER_OK != 0;
        if device_status & !STATUS_BITS != 0 || runs && !agreed {
            return Err(out_of_range("device_status", device_status.into()));
        }
        if interrupt_status & !CAUSES != 0 {
            return Err(out_of_range("interrupt_status", interrupt_status.into()));
        }
        if agreed && !self.accepts(driver_features) {
            return Err(out_of_range("driver_features", driver_features));
        }
        for QueueRegisters { queue, .. } in state.queues.iter().filter(|queue| queue.ready) {
            // Chains that the device has taken and not completed.
            let taken = queue.next_available.wrapping_sub(queue.next_used);
            if u32::from(taken) > queue.configuration.size {
                return Err(out_of_range("next_used", queue.next_used.into()));
            }
        }
        Ok(())
    }
}
