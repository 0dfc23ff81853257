//! Model-specific registers that firmware would set.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use super::CpuError;

/// IA32_MISC_ENABLE: fast string operations.
const MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;
/// IA32_MTRR_DEF_TYPE: MTRRs are enabled, and the default type is write-back.
const MTRR_DEFAULT_TYPE: u32 = 0x2ff;
const MTRR_ENABLE_WRITE_BACK: u64 = 1 << 11 | 6;
/// IA32_TSC: every vCPU's clock starts at zero, so that the clocks agree.
const TSC: u32 = 0x10;

/// Sets the MSRs one by one. A guest can do without each of them, as its kernel handles the reset value: one that KVM
/// refuses is logged and skipped.
pub(super) fn configure(vcpu: &VcpuFd, cpu: u8) -> Result<(), CpuError> {
    for (index, data) in [
        (MISC_ENABLE, FAST_STRINGS),
        (MTRR_DEFAULT_TYPE, MTRR_ENABLE_WRITE_BACK),
        (TSC, 0),
    ] {
        let entry = kvm_msr_entry {
            index,
            data,
            ..Default::default()
        };
        let msrs = Msrs::from_entries(&[entry]).map_err(|_| CpuError::Msr { cpu, index })?;
        match vcpu.set_msrs(&msrs) {
            Ok(1) => {}
            Ok(_) => tracing::info!("vCPU {cpu}: KVM skips MSR {index:#x}"),
            Err(error) => tracing::info!(%error, "vCPU {cpu}: KVM refuses MSR {index:#x}"),
        }
    }
    Ok(())
}
