//! The vCPUs' threads, and the gate that starts, pauses and ends them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use faultvisor_devices::block::model::errno::Errno;
use faultvisor_devices::bus::{Bus, BusAccess};
use faultvisor_devices::sync::{lock, wait, wait_timeout};
use faultvisor_devices::thread_id::ThreadId;
use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_SIMUL_EX,
    KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use crate::cpu;
use crate::inbox::{Notice, Sender};
use crate::sandbox::{Kind, Sandbox};

/// How long the gate waits for a vCPU to leave the guest before it kicks again. A kick between a vCPU's last check of
/// the gate and KVM_RUN has no effect.
const KICK_INTERVAL: Duration = Duration::from_millis(1);

/// Logged when a vCPU enters the guest for the first time.
const FIRST_ENTRY: &str = "enters the guest";

/// Identifies the virtual machine that a notice is about: a reset makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation(pub u64);

/// Why a vCPU does not continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VcpuExit {
    /// It ended on request; its thread ends.
    Ended,
    /// A triple fault: on a PC, the reset line.
    TripleFault,
    /// KVM reports that the guest has reset itself.
    Reset,
    /// KVM reports that the guest has powered off.
    PowerOff,
    /// An error that KVM cannot continue from.
    Failed(String),
}

/// The order to the vCPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    Pause,
    End,
}

/// The gate: each vCPU checks it before it enters the guest.
struct Gate {
    order: Mutex<Order>,
    changed: Condvar,
    /// Copy of `order` that is read on the way into the guest.
    open: AtomicU32,
    /// vCPUs in KVM_RUN.
    inside: AtomicU32,
    left: Condvar,
}

impl Gate {
    fn new() -> Self {
        Self {
            order: Mutex::new(Order::Pause),
            changed: Condvar::new(),
            open: AtomicU32::new(0),
            inside: AtomicU32::new(0),
            left: Condvar::new(),
        }
    }

    fn set(&self, order: Order) {
        let mut current = lock(&self.order);
        if *current != Order::End {
            *current = order;
            self.open
                .store(u32::from(order == Order::Run), Ordering::SeqCst);
        }
        self.changed.notify_all();
    }

    /// Counts a vCPU into the guest while the gate is open.
    fn try_enter(&self) -> bool {
        // Counted before the check: the thread that closes the gate sees the count, or the vCPU sees the gate closed.
        self.count_in();
        if self.open.load(Ordering::SeqCst) != 0 {
            return true;
        }
        self.leave();
        false
    }

    /// Counts a vCPU into KVM_RUN, whether or not the gate is open.
    fn count_in(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until the order is not to pause, and returns it.
    fn wait_for_order(&self) -> Order {
        let mut order = lock(&self.order);
        while *order == Order::Pause {
            order = wait(&self.changed, order);
        }
        *order
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
        if self.open.load(Ordering::SeqCst) == 0 {
            // Under the lock, so that a waiter cannot miss it between check and wait.
            let _order = lock(&self.order);
            self.left.notify_all();
        }
    }

    /// Waits for the order to end.
    fn wait_for_end(&self) {
        let mut order = lock(&self.order);
        while *order != Order::End {
            order = wait(&self.changed, order);
        }
    }
}

/// The signal that interrupts KVM_RUN. Its handler does nothing: EINTR is the effect.
fn kick_signal() -> i32 {
    SIGRTMIN()
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the kick signal's handler. Call it once, before the first vCPU.
///
/// # Errors
///
/// When the host refuses the handler.
pub fn prepare_signals() -> io::Result<()> {
    register_signal_handler(kick_signal(), on_kick)
        .map_err(|error| io::Error::from_raw_os_error(error.errno()))
}

/// The buses that vCPU exits are dispatched on.
#[derive(Clone, Default)]
pub struct Buses {
    /// Port I/O.
    pub pio: Bus,
    /// Memory-mapped I/O.
    pub mmio: Bus,
}

/// The vCPU threads of one virtual machine. They start paused.
pub struct Vcpus {
    gate: Arc<Gate>,
    threads: Vec<JoinHandle<()>>,
    ids: Vec<ThreadId>,
}

impl fmt::Debug for Vcpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vcpus")
            .field("count", &self.threads.len())
            .finish()
    }
}

impl Vcpus {
    /// Starts a thread for each vCPU.
    ///
    /// # Errors
    ///
    /// When the host refuses a thread. Threads that were started have ended.
    pub fn start(
        vcpus: Vec<VcpuFd>,
        (buses, memory): (&Buses, &Arc<GuestMemoryMmap>),
        sandbox: &Sandbox,
        generation: Generation,
        inbox: &Sender,
    ) -> io::Result<Self> {
        let mut started = Self {
            gate: Arc::new(Gate::new()),
            threads: Vec::new(),
            ids: Vec::new(),
        };
        for (index, fd) in vcpus.into_iter().enumerate() {
            let vcpu = Vcpu {
                index,
                fd,
                is_exit_pending: false,
                pio: buses.pio.access(),
                mmio: buses.mmio.access(),
                memory: memory.clone(),
                gate: started.gate.clone(),
                generation,
                inbox: inbox.clone(),
            };
            let sandbox = sandbox.clone();
            let id = ThreadId::default();
            let announced = id.clone();
            let run = move || {
                sandbox.begin(Kind::Vcpu);
                announced.announce();
                vcpu.run();
            };
            let thread = thread::Builder::new()
                .name(format!("vcpu{index}"))
                .stack_size(256 << 10)
                .spawn(run);
            match thread {
                Ok(thread) => started.threads.push(thread),
                Err(error) => {
                    started.end();
                    started.join();
                    return Err(error);
                }
            }
            started.ids.push(id);
        }
        Ok(started)
    }

    /// Number of threads; each sends [`VcpuExit::Ended`] once.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// The host's thread IDs, in the order of the vCPUs.
    pub fn thread_ids(&self) -> impl Iterator<Item = i32> {
        self.ids.iter().map(ThreadId::get)
    }

    /// Lets the guest run.
    pub fn resume(&self) {
        self.gate.set(Order::Run);
    }

    /// Returns when no vCPU executes guest code. A vCPU may still handle an exit; its effect on a device is part of the
    /// exiting instruction.
    pub fn pause(&self) {
        self.gate.set(Order::Pause);
        let mut order = lock(&self.gate.order);
        while self.gate.inside.load(Ordering::SeqCst) != 0 {
            self.kick();
            order = wait_timeout(&self.gate.left, order, KICK_INTERVAL);
        }
        drop(order);
    }

    /// Pauses for good: the threads end after the exits that they handle.
    pub fn end(&self) {
        self.pause();
        self.gate.set(Order::End);
    }

    /// Joins the threads, which have been told to end.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a vCPU's thread panicked");
            }
        }
    }

    fn kick(&self) {
        for thread in &self.threads {
            // Fails for a thread that has ended, which needs no kick.
            let _ = thread.kill(kick_signal());
        }
    }
}

/// The circumstances of an entry into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    First,
    Straight,
    AfterPause,
}

struct Vcpu {
    index: usize,
    fd: VcpuFd,
    /// Whether KVM completes the last exit at the next KVM_RUN.
    is_exit_pending: bool,
    pio: BusAccess,
    mmio: BusAccess,
    memory: Arc<GuestMemoryMmap>,
    gate: Arc<Gate>,
    generation: Generation,
    inbox: Sender,
}

impl Vcpu {
    fn run(mut self) {
        self.run_to_the_end();
        let (inbox, generation) = (self.inbox, self.generation);
        // Closed before the report, after which the virtual machine may be closed.
        drop(self.fd);
        inbox.send(Notice::Vcpu(generation, VcpuExit::Ended));
    }

    /// Runs the guest whenever the gate is open, until the order is to end.
    fn run_to_the_end(&mut self) {
        let mut pace = Pace::First;
        loop {
            if !self.gate.try_enter() {
                self.complete_exit();
                if self.gate.wait_for_order() == Order::End {
                    return;
                }
                if pace == Pace::Straight {
                    pace = Pace::AfterPause;
                }
                continue;
            }
            match std::mem::replace(&mut pace, Pace::Straight) {
                // `cargo xtask bench boot` times the program's start by this line.
                Pace::First => tracing::debug!("vcpu{}: {FIRST_ENTRY}", self.index),
                Pace::AfterPause => self.tell_of_pause(),
                Pace::Straight => {}
            }
            if let Some(exit) = self.enter_guest() {
                self.inbox.send(Notice::Vcpu(self.generation, exit));
                self.gate.wait_for_end();
            }
        }
    }

    /// Completes the instruction of a handled exit in KVM, without running the guest: until then the vCPU's registers
    /// are those from before it (KVM API §5, `immediate_exit`).
    fn complete_exit(&mut self) {
        // One instruction may exit again, as an access across two pages does.
        while self.is_exit_pending {
            self.fd.set_kvm_immediate_exit(1);
            self.gate.count_in();
            if let Some(exit) = self.enter_guest() {
                self.inbox.send(Notice::Vcpu(self.generation, exit));
            }
            self.fd.set_kvm_immediate_exit(0);
        }
    }

    /// Tells the guest's soft-lockup watchdog that the guest was paused (KVM API §4.71, KVM_KVMCLOCK_CTRL). Fails where
    /// the guest does not use kvmclock, and then has no effect.
    fn tell_of_pause(&self) {
        let _ = self.fd.kvmclock_ctrl();
    }

    /// Runs the guest, into which the vCPU has been counted, to its next exit, and handles it.
    fn enter_guest(&mut self) -> Option<VcpuExit> {
        use kvm_ioctls::VcpuExit as Exit;

        let result = self.fd.run();
        self.gate.leave();
        self.is_exit_pending = matches!(
            result,
            Ok(Exit::IoOut(..) | Exit::IoIn(..) | Exit::MmioWrite(..) | Exit::MmioRead(..))
        );
        match result {
            Ok(Exit::IoOut(port, data)) => self.pio.write(port.into(), data),
            Ok(Exit::IoIn(port, data)) => self.pio.read(port.into(), data),
            Ok(Exit::MmioWrite(address, data)) => self.mmio.write(address, data),
            Ok(Exit::MmioRead(address, data)) => self.mmio.read(address, data),
            Ok(Exit::Intr | Exit::IrqWindowOpen | Exit::Hlt) => {}
            Ok(Exit::Shutdown) => return Some(VcpuExit::TripleFault),
            Ok(Exit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _)) => return Some(VcpuExit::Reset),
            Ok(Exit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _)) => {
                return Some(VcpuExit::PowerOff);
            }
            Ok(Exit::InternalError) => {
                let reason = internal_error(&mut self.fd);
                return Some(self.failed(&reason));
            }
            Ok(Exit::FailEntry(reason, _)) => {
                let reason = format!("the CPU refuses to enter the guest, reason {reason:#x}");
                return Some(self.failed(&reason));
            }
            Ok(other) => {
                let reason = format!("KVM left it with what nothing here handles: {other:?}");
                return Some(self.failed(&reason));
            }
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
            Err(error) => {
                let reason = format!("KVM_RUN: {}", Errno(error.errno()));
                return Some(self.failed(&reason));
            }
        }
        None
    }

    /// Describes a vCPU after an exit that KVM cannot continue from.
    fn failed(&self, reason: &str) -> VcpuExit {
        let state = cpu::describe(&self.fd, &self.memory);
        VcpuExit::Failed(format!("vcpu{}: {reason}{state}", self.index))
    }
}

/// The data of an internal error of KVM (KVM API §5, KVM_EXIT_INTERNAL_ERROR).
#[expect(unsafe_code, reason = "the exit's data are a union that KVM fills in")]
fn internal_error(vcpu: &mut VcpuFd) -> String {
    // SAFETY: after this exit KVM has filled in this member, and every value of its numbers is one.
    let error = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal };
    let kind = match error.suberror {
        KVM_INTERNAL_ERROR_EMULATION => "it cannot emulate an instruction",
        KVM_INTERNAL_ERROR_SIMUL_EX => "exceptions at the same time",
        KVM_INTERNAL_ERROR_DELIVERY_EV => "an event could not be delivered",
        _ => "unknown",
    };
    let count = usize::try_from(error.ndata).unwrap_or(usize::MAX);
    let data = error.data.iter().take(count);
    let data: String = data.map(|word| format!(" {word:#x}")).collect();
    format!(
        "internal error {} of KVM ({kind}){}{data}",
        error.suberror,
        if data.is_empty() { "" } else { ", data" }
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use faultvisor_devices::bus::BusDevice;
    use faultvisor_devices::thread::ThreadStart;
    use faultvisor_devices::virtio::rng::{HostEntropy, RngConfiguration, VirtioRng};
    use faultvisor_devices::virtio::transport::RingFeatures;
    use kvm_bindings::{KVM_IRQCHIP_PIC_MASTER, kvm_irqchip, kvm_regs};
    use kvm_ioctls::VmFd;
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::address_map;
    use crate::device_manager::DeviceManager;
    use crate::inbox::Inbox;
    use crate::vm::Wiring;

    #[test]
    fn a_closed_gate_holds_and_an_ended_one_never_opens_again() {
        let gate = Arc::new(Gate::new());
        let vcpu = {
            let gate = gate.clone();
            thread::spawn(move || {
                while gate.wait_for_order() == Order::Run {
                    if gate.try_enter() {
                        gate.leave();
                    }
                }
            })
        };
        gate.set(Order::Run);
        gate.set(Order::Pause);
        {
            let mut order = lock(&gate.order);
            while gate.inside.load(Ordering::SeqCst) != 0 {
                order = wait_timeout(&gate.left, order, KICK_INTERVAL);
            }
        }
        gate.set(Order::End);
        gate.set(Order::Run);
        vcpu.join().unwrap();
        assert_eq!(gate.wait_for_order(), Order::End);
        assert!(!gate.try_enter());
    }

    /// Answers reads with 0x5a, and ends the vCPU that reads.
    struct Ends(Arc<Gate>);

    impl BusDevice for Ends {
        fn read(&self, _: u64, data: &mut [u8]) {
            self.0.set(Order::End);
            data.fill(0x5a);
        }

        fn write(&self, _: u64, _: &[u8]) {}
    }

    /// A vCPU in real mode, on a page of memory that holds `code`, beside a device at port 0x10 and address 0x2_0000. Its
    /// data segment begins at `data`.
    fn vcpu(code: &[u8], data: u64) -> (VmFd, Vcpu, u64) {
        const CODE: u64 = 0x800;
        let kvm = crate::vm::open_kvm().unwrap();
        let vm = kvm.create_vm().unwrap();
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        memory.write_slice(code, GuestAddress(CODE)).unwrap();
        let memory = Arc::new(memory);
        crate::vm::map_memory(&vm, &memory).unwrap();
        vm.create_irq_chip().unwrap();
        let fd = vm.create_vcpu(0).unwrap();
        let mut segments = fd.get_sregs().unwrap();
        (segments.cs.base, segments.cs.selector) = (0, 0);
        (segments.ds.base, segments.ds.selector) = (data, 0x2000);
        fd.set_sregs(&segments).unwrap();
        let registers = kvm_regs {
            rip: CODE,
            rflags: 2,
            ..Default::default()
        };
        fd.set_regs(&registers).unwrap();
        let gate = Arc::new(Gate::new());
        gate.set(Order::Run);
        let device = Arc::new(Ends(gate.clone()));
        let (pio, mmio) = (Bus::new(), Bus::new());
        pio.insert(0x10, 1, device.clone()).unwrap();
        mmio.insert(0x2_0000, 8, device).unwrap();
        let vcpu = Vcpu {
            index: 0,
            fd,
            is_exit_pending: false,
            pio: pio.access(),
            mmio: mmio.access(),
            memory,
            gate,
            generation: Generation(1),
            inbox: Inbox::new().unwrap().1,
        };
        (vm, vcpu, CODE + code.len() as u64)
    }

    #[test]
    #[ignore = "needs /dev/kvm"]
    fn a_vcpu_that_pauses_in_an_exit_completes_its_instruction_first() {
        let in_al_0x10 = &[0xe4, 0x10];
        let mov_al_ds_0 = &[0xa0, 0, 0];
        for code in [&in_al_0x10[..], mov_al_ds_0] {
            let (_vm, mut vcpu, after) = vcpu(code, 0x2_0000);
            vcpu.run_to_the_end();
            let registers = vcpu.fd.get_regs().unwrap();
            assert_eq!((registers.rip, registers.rax), (after, 0x5a), "{code:x?}");
        }
    }

    /// Whether the first interrupt controller (8259) has latched an input.
    #[expect(unsafe_code, reason = "the chip's state is a union that KVM fills in")]
    fn is_latched(vm: &Wiring, input: u32) -> bool {
        let mut chip = kvm_irqchip {
            chip_id: KVM_IRQCHIP_PIC_MASTER,
            ..Default::default()
        };
        vm.fd().get_irqchip(&mut chip).unwrap();
        // SAFETY: KVM has filled in the state of this chip, and every value of its numbers is one.
        let irr = unsafe { chip.chip.pic.irr };
        irr & 1 << input != 0
    }

    #[test]
    #[ignore = "needs /dev/kvm"]
    fn a_device_that_is_added_later_is_connected_to_the_virtual_machine_that_runs() {
        let mov_ds_0x50_eax_in_al_0x10 = &[0x66, 0xa3, 0x50, 0, 0xe4, 0x10];
        let (vm, mut vcpu, _) = vcpu(mov_ds_0x50_eax_in_al_0x10, address_map::VIRTIO);
        let (mut wiring, mut devices) = (Wiring::new(vm), DeviceManager::default());
        wiring.connect(&devices).unwrap();
        let configuration = RngConfiguration {
            id: "rng0".to_owned(),
            limit: None,
        };
        let (memory, source) = (vcpu.memory.clone(), Box::new(HostEntropy));
        let rng = VirtioRng::new(configuration, source, memory, &ThreadStart::default());
        let ring_features = RingFeatures::default();
        devices
            .add_virtio(Arc::new(rng.unwrap()), ring_features)
            .unwrap();
        wiring.connect(&devices).unwrap();
        // What is connected already is left alone.
        wiring.connect(&devices).unwrap();
        vcpu.run_to_the_end();
        assert_eq!(devices.kicks()[0].event.read().unwrap(), 1);
        let line = &devices.lines()[0];
        assert!(!is_latched(&wiring, line.interrupt));
        line.event.write(1).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_latched(&wiring, line.interrupt) {
            assert!(Instant::now() < deadline, "no interrupt");
            thread::yield_now();
        }
    }
}
