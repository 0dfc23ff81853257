//! Assembles the machine from a configuration, up to the guest's first instruction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use faultvisor_devices::block::fault::replay::Replay;
use faultvisor_devices::bus::RangeError;
use faultvisor_devices::console::ConsoleOutput;
use faultvisor_devices::interrupt::InterruptLine;
use faultvisor_devices::legacy::{
    Cmos, GuestPanic, KeyboardController, PowerButton, PowerControl, Pvpanic, Serial,
};
use faultvisor_devices::life_cycle::Run;
use faultvisor_devices::virtio::rng::{HostEntropy, VirtioRng};
use faultvisor_devices::virtio::transport::RingFeatures;
use faultvisor_devices::virtio::vsock::{UnixListeners, VirtioVsock};
use faultvisor_monitor::unix_socket::{self, UnixSocketError};
use faultvisor_schema::RunState;
use faultvisor_schema::Signals;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::disks::{DriveError, MachineDisk, Surroundings};
use super::faults::Rules;
use super::owed::Owed;
use super::reset::StartError;
use super::resize::Resizing;
use super::transition::Transitions;
use super::view::View;
use super::vsock::MachineVsock;
use super::{Machine, RunPolicy, limits};
use crate::address_map;
use crate::boot::{BootError, Guest, Images, Loading};
use crate::cli::{Configuration, Throttling};
use crate::cpu::{self, CpuError};
use crate::device_manager::{DeviceManager, Line};
use crate::faults::{self, FaultLog, FaultsError, LogError};
use crate::inbox::{Inbox, Notice, Sender};
use crate::memory::{self, MemoryError};
use crate::sandbox::Sandbox;
use crate::vcpu::{self, Generation};
use crate::vm::{self, Platform, VmError};

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// KVM.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The CPU's features.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A disk.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The socket of the vsock device.
    #[error("--vsock: {0}")]
    Vsock(#[from] UnixSocketError),
    /// The rules for the disks' faults.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Two devices claim one address range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The first start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log of faults.
    #[error(transparent)]
    FaultLog(#[from] LogError),
    /// A descriptor or a signal handler.
    #[error("cannot set up the machine: {0}")]
    Setup(#[from] io::Error),
}

/// What a machine is made from.
pub struct Plan<'a> {
    /// The command line.
    pub configuration: &'a Configuration,
    /// Where the serial port writes to.
    pub output: ConsoleOutput,
    /// Where events go.
    pub signals: Signals,
    /// The main thread's queue.
    pub inbox: Inbox,
    /// The sending side of `inbox`.
    pub sender: Sender,
    /// Readable when the host wants the program to end.
    pub host_signal: UnixStream,
    /// The sandbox of the threads.
    pub sandbox: Sandbox,
    /// The logged decisions that each disk replays.
    pub replay: Option<BTreeMap<String, Replay>>,
}

/// A machine whose guest images are still being loaded.
pub struct Assembled {
    machine: Machine,
    loading: Loading,
    /// Warnings about a machine that may not be the intended one.
    notes: Vec<String>,
}

/// The parts of a machine that its surroundings need.
pub struct Connections {
    /// The serial port, for its input.
    pub serial: Arc<Serial>,
    /// Written to when the serial port's buffer has room again.
    pub room: EventFd,
    /// The state that the monitor's thread reads.
    pub view: View,
}

impl Machine {
    /// Assembles a machine. Its images load in the background.
    ///
    /// # Errors
    ///
    /// [`AssemblyError`] names what is missing or wrong.
    pub fn assemble(plan: Plan<'_>) -> Result<(Assembled, Connections), AssemblyError> {
        let Plan {
            configuration,
            output,
            signals,
            inbox,
            sender,
            host_signal,
            sandbox,
            replay,
        } = plan;
        let kvm = vm::open_kvm()?;
        vcpu::prepare_signals()?;
        cpu::check_memory(&kvm, configuration.memory)?;
        let backing = configuration.backing();
        let images = Arc::new(Images::open(configuration)?);
        let memory = memory::allocate(configuration.memory, &backing)?;
        let (placed, loading) = images.load(&memory)?;
        let features = cpu::supported_features(&kvm)?;
        let event = || EventFd::new(EFD_NONBLOCK);
        let (reset_line, power_off, room) = (event()?, event()?, event()?);
        let mut devices = DeviceManager::default();
        let power = PowerControl::new(power_off.try_clone()?);
        let ports = ports(address_map::POWER_CONTROL, PowerControl::PORTS);
        devices.add_ports(ports, None, Arc::new(power))?;
        let (line, raise) = line(address_map::COM1_INTERRUPT)?;
        let serial = Arc::new(Serial::new(raise, output, room.try_clone()?));
        let ports = self::ports(address_map::COM1, Serial::PORTS);
        devices.add_ports(ports, Some(line), serial.clone())?;
        let mut power_button = None;
        if configuration.acpi {
            let (line, raise) = self::line(address_map::POWER_BUTTON_INTERRUPT)?;
            let button = Arc::new(PowerButton::new(raise));
            devices.add_part(Some(line), button.clone());
            power_button = Some(button);
        }
        let pvpanic = Pvpanic::new(panic_listener(sender.clone()));
        let ports = self::ports(address_map::PVPANIC, Pvpanic::PORTS);
        devices.add_ports(ports, None, Arc::new(pvpanic))?;
        let keyboard = KeyboardController::new(reset_line.try_clone()?);
        let ports = self::ports(address_map::KEYBOARD_CONTROLLER, KeyboardController::PORTS);
        devices.add_ports(ports, None, Arc::new(keyboard))?;
        let ports = self::ports(address_map::CMOS, Cmos::PORTS);
        devices.add_ports(ports, None, Arc::new(Cmos::new()))?;

        let fault_log = match &configuration.fault_log {
            Some(path) => Some(Arc::new(FaultLog::create(path)?)),
            None => None,
        };
        let threads = sandbox.device_threads();
        let mut disks = Vec::new();
        for (index, drive) in (0..).zip(&configuration.drives) {
            let surroundings = Surroundings {
                memory: &memory,
                signals: &signals,
                inbox: &sender,
                fault_log: fault_log.as_ref(),
                threads: &threads,
            };
            let disk = MachineDisk::open(drive, index, surroundings, &mut devices)?;
            if let Some(Throttling { group, limits }) = &drive.throttling {
                let group = limits::group(&disks, group.clone(), *limits);
                disk.set_group(Some(group), Box::new(|| ()));
            }
            disks.push(disk);
        }
        for rng in &configuration.rngs {
            let rng = VirtioRng::new(rng.clone(), Box::new(HostEntropy), memory.clone(), &threads)?;
            devices.add_virtio(Arc::new(rng), RingFeatures::default())?;
        }
        let mut vsock = None;
        if let Some(option) = &configuration.vsock {
            let (listener, file) = unix_socket::bind(&option.socket)?;
            let listeners = Box::new(UnixListeners::beside(&option.socket));
            let memory = memory.clone();
            let device = VirtioVsock::new(option.cid, listener, listeners, memory, &threads)?;
            let device = Arc::new(device);
            devices.add_virtio(device.clone(), RingFeatures::default())?;
            vsock = Some(MachineVsock { device, file });
        }
        let disk = |id: &str| disks.iter().find(|disk| disk.id() == id);
        let has_monitor = !configuration.qmp.is_empty();
        let target = |id: &str| Some(disk(id)?.target(has_monitor));
        let resolved = faults::resolve(&configuration.faults, target)?;
        let mut notes = configuration.notes.clone();
        notes.extend(resolved.notes);
        notes.extend(images.notes(configuration));
        let guest = Guest::new(configuration, &devices)?;
        let by_name = disks.iter().map(MachineDisk::shared).collect();
        let view = View::new(configuration.name.clone(), by_name);
        let platform = Platform {
            memory,
            backing,
            devices,
            features,
            cpus: configuration.cpus,
            sandbox,
        };
        let mut machine = Self {
            view: view.clone(),
            policy: RunPolicy {
                start_stopped: configuration.start_stopped,
                actions: configuration.actions,
                has_monitor,
            },
            kvm,
            platform,
            images,
            guest,
            disks,
            vsock,
            rules: Rules::default(),
            tells_of_untaken_disks: true,
            vm: None,
            generation: Generation::default(),
            state: RunState::Prelaunch,
            run: Run::default(),
            transitions: Transitions::new(),
            resizing: Resizing::default(),
            owed: Owed::default(),
            signals,
            inbox,
            sender,
            reset_line,
            power_off,
            power_button,
            host_signal,
            ending: Rc::new(Cell::new(None)),
        };
        machine.give_faults(resolved.rules, replay.unwrap_or_default());
        machine.build_around(placed)?;
        let connections = Connections { serial, room, view };
        let assembled = Assembled {
            machine,
            loading,
            notes,
        };
        Ok((assembled, connections))
    }
}

impl Assembled {
    /// Waits until the images are in memory. The vCPUs are paused.
    ///
    /// # Errors
    ///
    /// [`BootError`] when an image cannot be read.
    pub fn finish(self) -> Result<Machine, BootError> {
        self.loading.finish()?;
        for note in &self.notes {
            tracing::warn!("{note}");
        }
        Ok(self.machine)
    }
}

/// `count` ports from `first` on.
fn ports(first: u64, count: u64) -> Range<u64> {
    first..first + count
}

/// An interrupt line, for the virtual machine and for the device.
fn line(interrupt: u32) -> io::Result<(Line, Arc<dyn InterruptLine>)> {
    let event = EventFd::new(EFD_NONBLOCK)?;
    let raise = Arc::new(event.try_clone()?);
    Ok((Line { event, interrupt }, raise))
}

/// Notifies the main thread of a guest's panic, and blocks the vCPU that reported it until the panic action is applied:
/// a guest that is to stop must not execute anything after its panic, a reset for example.
fn panic_listener(inbox: Sender) -> Box<dyn Fn(GuestPanic) + Send + Sync> {
    Box::new(move |panic| {
        let (hold, released) = mpsc::channel();
        inbox.send(Notice::GuestPanic(panic, hold));
        // Returns when the notice is dropped, handled or not.
        let _ = released.recv();
    })
}
