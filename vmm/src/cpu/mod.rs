//! A vCPU's initial state.

mod cpuid;
mod msr;
mod registers;
mod state;

use kvm_bindings::CpuId;
use kvm_ioctls::{Kvm, VcpuFd};
use vm_memory::GuestMemoryMmap;

use crate::address_map;
use crate::boot::Entry;
pub use state::describe;

/// KVM refused part of a vCPU's state.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// A KVM call.
    #[error("vCPU {cpu}: KVM refuses its {what}: {source}")]
    Kvm {
        /// Which vCPU.
        cpu: u8,
        /// The part of the state.
        what: &'static str,
        /// KVM's error.
        source: kvm_ioctls::Error,
    },
    /// KVM refused an MSR that guests need.
    #[error("vCPU {cpu}: KVM refuses MSR {index:#x}, which every guest needs")]
    Msr {
        /// Which vCPU.
        cpu: u8,
        /// The MSR.
        index: u32,
    },
    /// More memory than the vCPUs can address.
    #[error(
        "-m: memory up to guest address {end:#x} is out of reach: this KVM's vCPUs have {bits} bits of address"
    )]
    OutOfReach {
        /// The end of memory.
        end: u64,
        /// Width of a physical address.
        bits: u32,
    },
    /// The descriptor or page tables do not fit into guest memory.
    #[error("cannot write the start-up tables: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

impl CpuError {
    fn kvm(cpu: u8, what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |source| Self::Kvm { cpu, what, source }
    }
}

/// The features of every vCPU of a machine.
///
/// # Errors
///
/// KVM's error.
pub fn supported_features(kvm: &Kvm) -> Result<CpuId, CpuError> {
    kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .map_err(CpuError::kvm(0, "list of CPU features"))
}

/// Checks that the vCPUs can address this much memory.
///
/// # Errors
///
/// [`CpuError::OutOfReach`], or KVM's error.
pub fn check_memory(kvm: &Kvm, bytes: u64) -> Result<(), CpuError> {
    match bytes.checked_sub(address_map::LOW_MEMORY_END) {
        // Every vCPU does, and KVM's answer takes long.
        None | Some(0) => Ok(()),
        Some(high) => check_high_memory(&supported_features(kvm)?, high),
    }
}

/// The same for this many bytes from [`address_map::HIGH_MEMORY_START`] on.
fn check_high_memory(features: &CpuId, bytes: u64) -> Result<(), CpuError> {
    let end = address_map::HIGH_MEMORY_START.saturating_add(bytes);
    let bits = cpuid::physical_address_bits(features);
    match end.checked_shr(bits) {
        None | Some(0) => Ok(()),
        Some(1) if end == 1 << bits => Ok(()),
        Some(_) => Err(CpuError::OutOfReach { end, bits }),
    }
}

/// Writes the tables that the first vCPU's registers refer to.
///
/// # Errors
///
/// [`CpuError::Memory`].
pub fn write_tables(memory: &GuestMemoryMmap) -> Result<(), CpuError> {
    registers::write_tables(memory)
}

/// Sets a vCPU up. The first starts at `entry`; the others wait for its INIT and SIPI.
///
/// # Errors
///
/// [`CpuError`] if KVM refuses a part that guests need.
pub fn configure(
    vcpu: &VcpuFd,
    cpu: u8,
    cpus: u8,
    features: &CpuId,
    entry: Entry,
) -> Result<(), CpuError> {
    let tsc_khz = vcpu.get_tsc_khz().ok();
    let cpuid = cpuid::for_cpu(features, cpu, cpus, tsc_khz);
    vcpu.set_cpuid2(&cpuid)
        .map_err(CpuError::kvm(cpu, "CPU features"))?;
    msr::configure(vcpu, cpu)?;
    registers::configure_local_apic(vcpu, cpu)?;
    if cpu == 0 {
        registers::configure(vcpu, cpu, entry)?;
    }
    Ok(())
}
