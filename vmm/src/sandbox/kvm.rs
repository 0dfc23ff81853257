//! KVM's requests (KVM API §4), by the low half of their ioctl(2) number; the upper half is the argument's size, which
//! the kernel checks.

/// `KVMIO`, the type of KVM's requests.
const KVMIO: u64 = 0xae;

/// A request's type and number.
const fn request(number: u64) -> u64 {
    KVMIO << 8 | number
}

/// Requests to a vCPU by its own thread, and by main before that thread exists. The first is the most frequent.
pub(super) const OF_VCPU: [u64; 30] = [
    request(0x80), // KVM_RUN
    request(0x7b), // KVM_SET_CLOCK
    request(0x7c), // KVM_GET_CLOCK
    request(0x81), // KVM_GET_REGS
    request(0x82), // KVM_SET_REGS
    request(0x83), // KVM_GET_SREGS
    request(0x84), // KVM_SET_SREGS
    request(0x85), // KVM_TRANSLATE
    request(0x88), // KVM_GET_MSRS
    request(0x89), // KVM_SET_MSRS
    request(0x8c), // KVM_GET_FPU
    request(0x8d), // KVM_SET_FPU
    request(0x8e), // KVM_GET_LAPIC
    request(0x8f), // KVM_SET_LAPIC
    request(0x90), // KVM_SET_CPUID2
    request(0x91), // KVM_GET_CPUID2
    request(0x98), // KVM_GET_MP_STATE
    request(0x99), // KVM_SET_MP_STATE
    request(0x9a), // KVM_NMI
    request(0x9f), // KVM_GET_VCPU_EVENTS
    request(0xa0), // KVM_SET_VCPU_EVENTS
    request(0xa1), // KVM_GET_DEBUGREGS
    request(0xa2), // KVM_SET_DEBUGREGS, KVM_SET_TSC_KHZ
    request(0xa3), // KVM_GET_TSC_KHZ
    request(0xa4), // KVM_GET_XSAVE
    request(0xa5), // KVM_SET_XSAVE
    request(0xa6), // KVM_GET_XCRS
    request(0xa7), // KVM_SET_XCRS
    request(0xad), // KVM_KVMCLOCK_CTRL
    request(0xcf), // KVM_GET_XSAVE2
];

/// Main's requests to KVM and to a virtual machine: a reset makes a new one.
pub(super) const OF_MACHINE: [u64; 18] = [
    request(0x01), // KVM_CREATE_VM
    request(0x03), // KVM_CHECK_EXTENSION
    request(0x04), // KVM_GET_VCPU_MMAP_SIZE
    request(0x05), // KVM_GET_SUPPORTED_CPUID
    request(0x41), // KVM_CREATE_VCPU
    request(0x46), // KVM_SET_USER_MEMORY_REGION
    request(0x47), // KVM_SET_TSS_ADDR
    request(0x48), // KVM_SET_IDENTITY_MAP_ADDR
    request(0x49), // KVM_SET_USER_MEMORY_REGION2
    request(0x60), // KVM_CREATE_IRQCHIP
    request(0x61), // KVM_IRQ_LINE
    request(0x62), // KVM_GET_IRQCHIP
    request(0x63), // KVM_SET_IRQCHIP
    request(0x6a), // KVM_SET_GSI_ROUTING
    request(0x76), // KVM_IRQFD
    request(0x77), // KVM_CREATE_PIT2
    request(0x79), // KVM_IOEVENTFD
    request(0x0a), // KVM_GET_MSR_FEATURE_INDEX_LIST
];
