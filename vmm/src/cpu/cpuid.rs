//! CPUID: KVM's supported features, with this vCPU's topology and the clock's frequency.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaf 1: features.
const FEATURES: u32 = 0x1;
/// Leaf 1 ECX: the local APIC's timer has a TSC deadline mode, and needs no calibration.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1 ECX: a hypervisor is present.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1 EDX: EBX holds the number of logical processors.
const HYPER_THREADING: u32 = 1 << 28;
/// Leaf 4 and AMD's equivalent: cache topology.
const CACHES: u32 = 0x4;
const CACHES_AMD: u32 = 0x8000_001d;
/// Leaves 0xb and 0x1f: topology by x2APIC ID.
const TOPOLOGY: u32 = 0xb;
const TOPOLOGY_V2: u32 = 0x1f;
/// EAX: width of addresses, in bits. On AMD, ECX: number of cores, APIC ID size.
const ADDRESSES: u32 = 0x8000_0008;
/// Width of a physical address without [`ADDRESSES`] (AMD APM, volume 3, appendix E).
const DEFAULT_ADDRESS_BITS: u32 = 36;
/// AMD: this core's IDs.
const CORE_ID_AMD: u32 = 0x8000_001e;
/// The first of the hypervisor's leaves, which holds the number of the last.
const HYPERVISOR_LEAVES: u32 = 0x4000_0000;
/// The frequencies of TSC (EAX) and local APIC bus (EBX) in kHz, in VMware's format.
const TIMING: u32 = 0x4000_0010;
/// KVM's local APIC timer counts nanoseconds.
const APIC_BUS_KHZ: u32 = 1_000_000;

/// Levels of leaf 0xb (Intel SDM, volume 2, CPUID).
const LEVEL_THREAD: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// The CPUID of one vCPU: a core with one thread, in one package with the others.
pub(super) fn for_cpu(features: &CpuId, cpu: u8, cpus: u8, tsc_khz: Option<u32>) -> CpuId {
    let mut entries = features.as_slice().to_vec();
    let id = u32::from(cpu);
    let count = u32::from(cpus);
    // Bits of an APIC ID that distinguish the cores.
    let core_bits = count.next_power_of_two().trailing_zeros();
    entries.retain(|entry| !matches!(entry.function, TOPOLOGY | TOPOLOGY_V2));
    for entry in &mut entries {
        match entry.function {
            FEATURES => {
                entry.ebx = entry.ebx & 0x0000_ffff | id << 24 | count << 16;
                // Supported by every KVM with an in-kernel local APIC, although its list of supported features leaves
                // it out (KVM API §4.46).
                entry.ecx |= HYPERVISOR | TSC_DEADLINE;
                if cpus > 1 {
                    entry.edx |= HYPER_THREADING;
                }
            }
            CACHES | CACHES_AMD => set_cache_sharing(entry, core_bits),
            ADDRESSES => entry.ecx = core_bits << 12 | (count - 1),
            CORE_ID_AMD => {
                entry.eax = id;
                // One thread a core.
                entry.ebx = id & 0xff;
                entry.ecx = 0;
            }
            HYPERVISOR_LEAVES if tsc_khz.is_some() => entry.eax = entry.eax.max(TIMING),
            _ => {}
        }
    }
    for (index, kind, shift, logical) in
        [(0, LEVEL_THREAD, 0, 1), (1, LEVEL_CORE, core_bits, count)]
    {
        entries.push(kvm_cpuid_entry2 {
            function: TOPOLOGY,
            index,
            flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax: shift,
            ebx: logical,
            ecx: kind << 8 | index,
            edx: id,
            ..Default::default()
        });
    }
    if let Some(tsc_khz) = tsc_khz {
        entries.retain(|entry| entry.function != TIMING);
        entries.push(kvm_cpuid_entry2 {
            function: TIMING,
            eax: tsc_khz,
            ebx: APIC_BUS_KHZ,
            ..Default::default()
        });
    }
    // Only KVM's own list could exceed what KVM accepts; then the list is used unchanged.
    CpuId::from_entries(&entries).unwrap_or_else(|_| features.clone())
}

/// Width of the vCPUs' physical addresses in bits.
pub(super) fn physical_address_bits(features: &CpuId) -> u32 {
    let mut entries = features.as_slice().iter();
    let leaf = entries.find(|entry| entry.function == ADDRESSES);
    leaf.map_or(DEFAULT_ADDRESS_BITS, |leaf| leaf.eax & 0xff)
}

/// Levels 1 and 2 belong to one core; level 3 to the package.
fn set_cache_sharing(entry: &mut kvm_cpuid_entry2, core_bits: u32) {
    let level = entry.eax >> 5 & 7;
    let sharing = if level >= 3 { (1 << core_bits) - 1 } else { 0 };
    if entry.eax & 0x1f != 0 {
        entry.eax &= !(0xfff << 14);
        entry.eax |= sharing << 14;
        if entry.function == CACHES {
            entry.eax &= !(0x3f << 26);
            entry.eax |= ((1 << core_bits) - 1) << 26;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, eax: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            eax,
            ..Default::default()
        }
    }

    fn find(cpuid: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        let matches =
            |entry: &&kvm_cpuid_entry2| entry.function == function && entry.index == index;
        *cpuid.as_slice().iter().find(matches).unwrap()
    }

    #[test]
    fn each_vcpu_is_a_core_with_its_own_apic_id() {
        let leaves = [entry(1, 0), entry(0xb, 99), entry(0x4000_0000, 0x4000_0001)];
        let features = CpuId::from_entries(&leaves).unwrap();
        let cpuid = for_cpu(&features, 2, 3, Some(2_000_000));
        let leaf = find(&cpuid, 1, 0);
        assert_eq!((leaf.ebx >> 24, leaf.ebx >> 16 & 0xff), (2, 3));
        assert_eq!(leaf.ecx, HYPERVISOR | TSC_DEADLINE);
        let core = find(&cpuid, 0xb, 1);
        assert_eq!((core.eax, core.ebx, core.edx), (2, 3, 2));
        assert_eq!(find(&cpuid, 0x4000_0000, 0).eax, TIMING);
        assert_eq!(find(&cpuid, TIMING, 0).eax, 2_000_000);
    }

    #[test]
    fn memory_that_no_vcpu_reaches_is_refused() {
        let features = CpuId::from_entries(&[entry(ADDRESSES, 0x3024)]).unwrap();
        let check = |bytes| crate::cpu::check_high_memory(&features, bytes);
        assert!(check(60 << 30).is_ok());
        let error = check((60 << 30) + 4096).unwrap_err().to_string();
        let said = "-m: memory up to guest address 0x1000001000 is out of reach: this KVM's vCPUs have 36 bits of address";
        assert_eq!(error, said);
        assert!(check(u64::MAX).is_err() && check(1 << 30).is_ok());
        let none = CpuId::from_entries(&[]).unwrap();
        assert!(crate::cpu::check_high_memory(&none, 64 << 30).is_err());
    }

    #[test]
    fn without_a_known_tsc_frequency_none_is_claimed() {
        let features = CpuId::from_entries(&[entry(0x4000_0000, 0x4000_0001)]).unwrap();
        let cpuid = for_cpu(&features, 0, 1, None);
        assert_eq!(find(&cpuid, 0x4000_0000, 0).eax, 0x4000_0001);
        assert!(
            cpuid
                .as_slice()
                .iter()
                .all(|entry| entry.function != TIMING)
        );
    }
}
