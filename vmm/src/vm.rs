//! One virtual machine: from power-on to the next reset.
//!
//! A reset makes a new virtual machine on the same memory and devices, so that there is one path by which a machine
//! starts.

use std::io;
use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_PIT_SPEAKER_DUMMY, kvm_clock_data, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VmFd};
use vm_memory::{
    Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress,
};

use crate::address_map;
use crate::boot::Entry;
use crate::cpu::{self, CpuError};
use crate::device_manager::DeviceManager;
use crate::inbox::Sender;
use crate::memory::Backing;
use crate::sandbox::Sandbox;
use crate::vcpu::{Generation, Vcpus};

/// Why there is no virtual machine.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// There is no /dev/kvm that can be opened.
    #[error("cannot open /dev/kvm: {0}{hint}", hint = open_hint(.0))]
    Open(faultvisor_devices::block::model::errno::Errno),
    /// It is not the KVM API that every Linux since 2.6.22 has.
    #[error("/dev/kvm has API version {0}, expected 12")]
    Version(i32),
    /// KVM lacks a required capability.
    #[error("this KVM lacks {0:?}")]
    Missing(Cap),
    /// A KVM call.
    #[error("KVM refuses to {what}: {source}")]
    Kvm {
        /// The operation.
        what: &'static str,
        /// KVM's error.
        source: kvm_ioctls::Error,
    },
    /// A region of guest memory is not mapped in this process.
    #[error("guest memory at {0:#x} has no address on the host")]
    NoHostAddress(u64),
    /// A vCPU.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A thread or a descriptor.
    #[error("cannot start the vCPUs: {0}")]
    Start(#[source] io::Error),
}

fn open_hint(errno: &faultvisor_devices::block::model::errno::Errno) -> &'static str {
    match errno.0 {
        libc::EACCES | libc::EPERM => " (is the user in the group that owns it?)",
        libc::ENOENT | libc::ENXIO | libc::ENODEV => {
            " (is virtualization enabled, and a kvm module loaded?)"
        }
        _ => "",
    }
}

/// Opens KVM and checks for the required capabilities.
///
/// # Errors
///
/// [`VmError`] names what is missing.
pub fn open_kvm() -> Result<Kvm, VmError> {
    let kvm = Kvm::new().map_err(|error| {
        VmError::Open(faultvisor_devices::block::model::errno::Errno(
            error.errno(),
        ))
    })?;
    let version = kvm.get_api_version();
    if version != 12 {
        return Err(VmError::Version(version));
    }
    for capability in [
        Cap::Irqchip,
        Cap::Pit2,
        Cap::UserMemory,
        Cap::Ioeventfd,
        Cap::Irqfd,
        Cap::ExtCpuid,
        Cap::ImmediateExit,
    ] {
        if !kvm.check_extension(capability) {
            return Err(VmError::Missing(capability));
        }
    }
    Ok(kvm)
}

/// The platform of successive virtual machines, which outlives resets.
pub struct Platform {
    /// Guest memory.
    pub memory: Arc<GuestMemoryMmap>,
    /// Its backing on the host.
    pub backing: Backing,
    /// The devices.
    pub devices: DeviceManager,
    /// Features of every vCPU.
    pub features: CpuId,
    /// Number of vCPUs.
    pub cpus: u8,
    /// What confines their threads.
    pub sandbox: Sandbox,
}

/// KVM's virtual machine, and the devices' interrupts and kicks that it is connected to.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// Also keeps its irqfds and ioeventfds alive.
    fd: VmFd,
    /// How many of [`DeviceManager::lines`].
    lines: usize,
    /// How many of [`DeviceManager::kicks`].
    kicks: usize,
}

impl Wiring {
    /// Without devices.
    pub(crate) fn new(fd: VmFd) -> Self {
        Self {
            fd,
            lines: 0,
            kicks: 0,
        }
    }

    /// The virtual machine.
    pub(crate) fn fd(&self) -> &VmFd {
        &self.fd
    }

    /// Connects what the devices have added since the last call. The virtual machine may run.
    ///
    /// # Errors
    ///
    /// [`VmError`] with what KVM refused. The next call begins with that.
    pub(crate) fn connect(&mut self, devices: &DeviceManager) -> Result<(), VmError> {
        let refuses = |what| move |source| VmError::Kvm { what, source };
        for line in devices.lines().iter().skip(self.lines) {
            self.fd
                .register_irqfd(&line.event, line.interrupt)
                .map_err(refuses("connect an interrupt"))?;
            self.lines += 1;
        }
        for kick in devices.kicks().iter().skip(self.kicks) {
            let notify = IoEventAddress::Mmio(kick.address);
            self.fd
                .register_ioevent(&kick.event, &notify, kick.value)
                .map_err(refuses("connect a device's kick"))?;
            self.kicks += 1;
        }
        Ok(())
    }
}

/// A virtual machine with its vCPUs, which start paused.
#[derive(Debug)]
pub struct Vm {
    vcpus: Vcpus,
    wiring: Wiring,
    is_paused: bool,
    /// The guest's clock (kvmclock), while it is stopped.
    clock: Option<kvm_clock_data>,
}

impl Vm {
    /// Makes a virtual machine that starts at `entry`.
    ///
    /// # Errors
    ///
    /// [`VmError`] with what KVM refused.
    pub fn new(
        kvm: &Kvm,
        platform: &Platform,
        entry: Entry,
        generation: Generation,
        inbox: &Sender,
    ) -> Result<Self, VmError> {
        let refuses = |what| move |source| VmError::Kvm { what, source };
        let fd = kvm.create_vm().map_err(refuses("make a machine"))?;
        fd.set_identity_map_address(address_map::IDENTITY_MAP)
            .map_err(refuses("place its identity map"))?;
        fd.set_tss_address(address_map::TASK_STATE)
            .map_err(refuses("place its task state"))?;
        map_memory(&fd, &platform.memory)?;
        fd.create_irq_chip()
            .map_err(refuses("make interrupt controllers"))?;
        let pit = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..Default::default()
        };
        fd.create_pit2(pit).map_err(refuses("make a timer"))?;
        let mut wiring = Wiring::new(fd);
        wiring.connect(&platform.devices)?;
        cpu::write_tables(&platform.memory)?;
        let mut vcpus = Vec::new();
        for cpu in 0..platform.cpus {
            let vcpu = wiring
                .fd()
                .create_vcpu(cpu.into())
                .map_err(refuses("make a vCPU"))?;
            cpu::configure(&vcpu, cpu, platform.cpus, &platform.features, entry)?;
            vcpus.push(vcpu);
        }
        let world = (platform.devices.buses(), &platform.memory);
        let vcpus = Vcpus::start(vcpus, world, &platform.sandbox, generation, inbox)
            .map_err(VmError::Start)?;
        Ok(Self {
            vcpus,
            wiring,
            is_paused: true,
            clock: None,
        })
    }

    /// Stops the vCPUs and the guest's clock.
    pub fn pause(&mut self) {
        self.vcpus.pause();
        self.is_paused = true;
        match self.wiring.fd().get_clock() {
            Ok(clock) => self.clock = Some(clock),
            Err(error) => tracing::debug!(%error, "the guest's clock goes on"),
        }
    }

    /// Resumes the vCPUs, and the guest's clock from where it was stopped, as in QEMU: a stop of any length is
    /// invisible to the guest.
    pub fn resume(&mut self) {
        if let Some(clock) = self.clock.take() {
            // Without flags: those that KVM returned describe the clock's accuracy, and KVM refuses them.
            let stopped = kvm_clock_data {
                clock: clock.clock,
                ..Default::default()
            };
            if let Err(error) = self.wiring.fd().set_clock(&stopped) {
                tracing::debug!(%error, "the guest's clock has gone on");
            }
        }
        self.is_paused = false;
        self.vcpus.resume();
    }

    /// Whether its vCPUs are paused, as they are at the start.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Its vCPUs.
    pub fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    /// Closes it, after its vCPUs have reported their end.
    pub fn close(self) {
        self.vcpus.join();
    }
}

/// Gives KVM the guest's memory.
///
/// # Errors
///
/// [`VmError`] with the region that KVM refuses.
#[expect(unsafe_code, reason = "KVM takes guest memory by its host address")]
pub fn map_memory(fd: &VmFd, memory: &GuestMemoryMmap) -> Result<(), VmError> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let host = region
            .get_host_address(MemoryRegionAddress(0))
            .map_err(|_| VmError::NoHostAddress(region.start_addr().raw_value()))?;
        let description = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: host as u64,
        };
        // SAFETY: the range is a mapping of the process, at an address that the region has just given;
        // it lives as long as the platform, which outlives every virtual machine made on it, and nothing
        // forms references into it.
        unsafe { fd.set_user_memory_region(description) }.map_err(|source| VmError::Kvm {
            what: "map guest memory",
            source,
        })?;
    }
    Ok(())
}
