//! Probes what this machine's KVM can run.
//!
//! A KVM without hardware virtualization interprets a guest's kernel, and lacks some instructions of Linux. So a
//! one-page guest executes such an instruction in 64-bit kernel mode: if it reaches the `hlt` after it, Linux boots.

#![expect(unsafe_code, reason = "giving memory to a guest has no safe interface")]

use std::fmt;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm as Device, VcpuExit};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// What kind of KVM there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kvm {
    /// It runs Linux guests.
    Direct,
    /// It runs small guests, but cannot execute everything that Linux needs.
    SoftwareOnly {
        /// How the probe ended.
        why: String,
    },
    /// There is none, or this process may not use it.
    NoKvm {
        /// The cause.
        why: String,
    },
}

impl Kvm {
    /// Probes this machine's /dev/kvm.
    pub fn probe() -> Self {
        match open() {
            Err(error) => Self::NoKvm {
                why: format!("/dev/kvm: {error}"),
            },
            Ok(device) => match run_probe(&device) {
                Ok(Ending::Halted) => Self::Direct,
                Ok(Ending::Other(exit)) => Self::SoftwareOnly {
                    why: format!("cmpxchg16b in kernel mode ends in {exit}"),
                },
                Err(error) => Self::SoftwareOnly {
                    why: format!("a 64-bit guest cannot be set up: {error}"),
                },
            },
        }
    }

    /// Whether it runs guests of any kind.
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::NoKvm { .. })
    }

    /// Whether it runs Linux guests.
    pub fn runs_linux(&self) -> bool {
        *self == Self::Direct
    }
}

impl fmt::Display for Kvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => write!(f, "this machine's KVM runs Linux"),
            Self::SoftwareOnly { why } => {
                write!(f, "this machine's KVM does not run Linux ({why})")
            }
            Self::NoKvm { why } => write!(f, "this machine has no usable KVM ({why})"),
        }
    }
}

enum Ending {
    Halted,
    Other(String),
}

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PAGE_DIRECTORY: u64 = 0x3000;
const CODE: u64 = 0x4000;
const OPERAND: u64 = 0x5000;
const MEMORY: usize = 2 << 20;

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;

const CR0_PE_MP_ET_NE_PG: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;

/// `lock cmpxchg16b [rsi]`, `hlt`.
const PROGRAM: [u8; 6] = [0xf0, 0x48, 0x0f, 0xc7, 0x0e, 0xf4];

fn open() -> io::Result<Device> {
    const O_CLOEXEC: i32 = 0o2_000_000;
    // For the error's text: kvm-ioctls keeps only the number.
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_CLOEXEC)
        .open("/dev/kvm")?;
    Device::new().map_err(|error| io::Error::from_raw_os_error(error.errno()))
}

fn run_probe(device: &Device) -> io::Result<Ending> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY)])
        .map_err(io::Error::other)?;
    let quadwords = [
        (PML4, PDPT | PRESENT_WRITABLE),
        (PDPT, PAGE_DIRECTORY | PRESENT_WRITABLE),
        (PAGE_DIRECTORY, LARGE_PAGE | PRESENT_WRITABLE),
    ];
    for (address, value) in quadwords {
        memory
            .write_obj(value, GuestAddress(address))
            .map_err(io::Error::other)?;
    }
    memory
        .write_slice(&PROGRAM, GuestAddress(CODE))
        .map_err(io::Error::other)?;

    let vm = device.create_vm().map_err(os_error)?;
    let host_address = memory
        .get_host_address(GuestAddress(0))
        .map_err(io::Error::other)?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY as u64,
        userspace_addr: host_address.addr() as u64,
    };
    // SAFETY: the region is the mapping that `memory` owns, which outlives the VM: it is dropped after `vm` and `vcpu`.
    unsafe { vm.set_user_memory_region(region) }.map_err(os_error)?;

    let mut vcpu = vm.create_vcpu(0).map_err(os_error)?;
    let cpuid = device
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(os_error)?;
    vcpu.set_cpuid2(&cpuid).map_err(os_error)?;
    let mut system = vcpu.get_sregs().map_err(os_error)?;
    system.cr3 = PML4;
    system.cr4 |= CR4_PAE;
    system.cr0 = CR0_PE_MP_ET_NE_PG;
    system.efer |= EFER_LME_LMA;
    system.cs = segment(8, CODE_EXECUTE_READ);
    system.ss = segment(16, DATA_READ_WRITE);
    system.ds = system.ss;
    system.es = system.ss;
    vcpu.set_sregs(&system).map_err(os_error)?;
    let mut general = vcpu.get_regs().map_err(os_error)?;
    general.rip = CODE;
    general.rsi = OPERAND;
    general.rflags = 2;
    vcpu.set_regs(&general).map_err(os_error)?;
    match vcpu.run() {
        Ok(VcpuExit::Hlt) => Ok(Ending::Halted),
        Ok(exit) => Ok(Ending::Other(format!("{exit:?}"))),
        Err(error) => Ok(Ending::Other(os_error(error).to_string())),
    }
}

const CODE_EXECUTE_READ: u8 = 0b1011;
const DATA_READ_WRITE: u8 = 0b0011;

fn segment(selector: u16, kind: u8) -> kvm_segment {
    let is_code = u8::from(kind == CODE_EXECUTE_READ);
    kvm_segment {
        limit: 0xffff_ffff,
        selector,
        type_: kind,
        present: 1,
        s: 1,
        l: is_code,
        db: 1 - is_code,
        g: 1,
        ..Default::default()
    }
}

fn os_error(error: kvm_ioctls::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_agrees_with_the_cpu_flags() {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let hardware = flags
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm");
        let found = Kvm::probe();
        // A KVM may be absent or forbidden for other reasons; but it runs Linux only on such a CPU.
        assert!(
            !found.runs_linux() || hardware,
            "{found} on a CPU without vmx and svm"
        );
        assert!(
            found.runs_linux() || !hardware || !found.is_there(),
            "{found} on a CPU with vmx or svm"
        );
    }
}
