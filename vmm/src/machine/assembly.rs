//! Putting the machine together, from a configuration to a guest before its first instruction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use faultvisor_devices::block::fault::replay::Replay;
use faultvisor_devices::bus::{Bus, RangeError};
use faultvisor_devices::console::ConsoleOutput;
use faultvisor_devices::legacy::{
    COM_PORTS, COM1_BASE, COM1_INTERRUPT, Cmos, GuestPanic, KeyboardController, PowerControl,
    Pvpanic, Serial,
};
use faultvisor_devices::life_cycle::{LifeCycle, Run};
use faultvisor_schema::RunState;
use faultvisor_schema::Signals;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::disks::{DriveError, MachineDisk, Surroundings};
use super::faults::Rules;
use super::owed::Owed;
use super::reset::StartError;
use super::resize::Resizing;
use super::slots::Slots;
use super::transition::Transitions;
use super::view::View;
use super::{Machine, RunPolicy, limits};
use crate::boot::{BootError, Guest, Images, Loading, POWER_BUTTON_INTERRUPT};
use crate::cli::{Configuration, Throttling};
use crate::cpu::{self, CpuError};
use crate::faults::{self, FaultLog, FaultsError, LogError};
use crate::inbox::{Inbox, Notice, Sender};
use crate::memory::{self, MemoryError};
use crate::sandbox::Sandbox;
use crate::vcpu::{self, Buses, Generation};
use crate::vm::{self, Board, Line, VmError};

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
    /// The rules for the disks' faults.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Two devices in one place.
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
    /// And its other end.
    pub sender: Sender,
    /// Readable when the host wants the program to end.
    pub host_signal: UnixStream,
    /// What confines the threads.
    pub sandbox: Sandbox,
    /// The decisions that each disk repeats.
    pub replay: Option<BTreeMap<String, Replay>>,
}

/// A machine that is complete but for its guest, which is still being loaded.
pub struct Assembled {
    machine: Machine,
    loading: Loading,
    /// What is to be said of a machine that is made, and may not be what was meant.
    notes: Vec<String>,
}

/// The parts of a machine that its surroundings need.
pub struct Connections {
    /// The serial port, for its input.
    pub serial: Arc<Serial>,
    /// Written to when the serial port has room again.
    pub room: EventFd,
    /// What the monitor's thread may look at.
    pub view: View,
}

impl Machine {
    /// Puts a machine together. Its images are being loaded yet.
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
        let (reset_line, power_off, room, serial_line) = (event()?, event()?, event()?, event()?);
        let serial = Arc::new(Serial::new(
            Arc::new(serial_line.try_clone()?),
            output,
            room.try_clone()?,
        ));

        let mut pio = Bus::new();
        let keyboard = Arc::new(KeyboardController::new(reset_line.try_clone()?));
        let power = Arc::new(PowerControl::new(power_off.try_clone()?));
        let cmos = Arc::new(Cmos::new());
        let pvpanic = Arc::new(Pvpanic::new(panic_listener(sender.clone())));
        pio.insert(COM1_BASE, COM_PORTS, serial.clone())?;
        pio.insert(
            KeyboardController::BASE,
            KeyboardController::PORTS,
            keyboard.clone(),
        )?;
        pio.insert(Cmos::BASE, Cmos::PORTS, cmos.clone())?;
        pio.insert(
            PowerControl::SLEEP_CONTROL.into(),
            PowerControl::PORTS,
            power.clone(),
        )?;
        pio.insert(Pvpanic::PORT.into(), Pvpanic::PORTS, pvpanic.clone())?;
        let parts: Vec<Arc<dyn LifeCycle>> = vec![serial.clone(), keyboard, cmos, power, pvpanic];

        let fault_log = match &configuration.fault_log {
            Some(path) => Some(Arc::new(FaultLog::create(path)?)),
            None => None,
        };
        let threads = sandbox.device_threads();
        let mut mmio = Bus::new();
        let mut disks = Vec::new();
        let mut slots = Slots::default();
        let mut lines = vec![Line {
            event: serial_line,
            interrupt: COM1_INTERRUPT,
        }];
        let mut power_button = None;
        if configuration.acpi {
            let event = event()?;
            power_button = Some(event.try_clone()?);
            lines.push(Line {
                event,
                interrupt: POWER_BUTTON_INTERRUPT,
            });
        }
        for (index, drive) in (0..).zip(&configuration.drives) {
            let surroundings = Surroundings {
                memory: &memory,
                signals: &signals,
                inbox: &sender,
                fault_log: fault_log.as_ref(),
                threads: &threads,
            };
            let disk = MachineDisk::open(drive, index, surroundings, &mut slots)?;
            if let Some(Throttling { group, limits }) = &drive.throttling {
                let group = limits::group(&disks, group.clone(), *limits);
                disk.set_group(Some(group), Box::new(|| ()));
            }
            disks.push(disk);
        }
        let disk = |id: &str| disks.iter().find(|disk| disk.id() == id);
        let has_monitor = !configuration.qmp.is_empty();
        let target = |id: &str| Some(disk(id)?.target(has_monitor));
        let resolved = faults::resolve(&configuration.faults, target)?;
        let mut notes = configuration.notes.clone();
        notes.extend(resolved.notes);
        notes.extend(images.notes(configuration));
        slots.map(&mut mmio)?;
        lines.extend(slots.lines()?);
        let guest = Guest::new(configuration, slots.slots())?;
        let by_name = disks.iter().map(MachineDisk::shared).collect();
        let view = View::new(configuration.name.clone(), by_name);
        let board = Board {
            memory,
            backing,
            buses: Arc::new(Buses { pio, mmio }),
            parts,
            lines,
            kicks: slots.kicks()?,
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
            board,
            images,
            guest,
            disks,
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

/// Tells the main thread of a guest's panic, and holds the vCPU that it came from until it is known what becomes of the
/// machine: what a guest does after its panic, a reset for one, must not be done by one that is to stop.
fn panic_listener(inbox: Sender) -> Box<dyn Fn(GuestPanic) + Send + Sync> {
    Box::new(move |panic| {
        let (hold, released) = mpsc::channel();
        inbox.send(Notice::GuestPanic(panic, hold));
        // Ends when the notice is gone, whatever became of it.
        let _ = released.recv();
    })
}
