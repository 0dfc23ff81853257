//! The program's life: open everything, run the machine, close everything.

use std::io;
use std::time::Duration;

use event_manager::{EventManager, MutEventSubscriber, SubscriberOps};
use faultvisor_devices::console::ConsoleOutput;
use faultvisor_monitor::{Monitor, MonitorHandle};
use faultvisor_schema::Signals;

use crate::boot::BootError;
use crate::cli::{Configuration, Unfired, UsageError};
use crate::console::{Console, ConsoleError};
use crate::faults::{self, LogError};
use crate::host_signals;
use crate::inbox::{Inbox, Notice};
use crate::logging::{self, LevelError};
use crate::machine::{AssemblyError, Ending, Link, Machine, Plan};
use crate::pid_file::{PidFile, PidFileError};
use crate::sandbox::{self, Kind, Sandbox, SandboxError};

/// How long the end of the program waits for clients and the console to read the remaining output.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long it waits for a slow console.
const LIMIT: Duration = Duration::from_secs(5);

/// The program did not run, or could not continue.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command line.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The log's level.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The serial port.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// The monitor's listeners.
    #[error("--qmp: {0}")]
    Bind(#[from] faultvisor_monitor::BindError),
    /// The monitor.
    #[error(transparent)]
    Monitor(#[from] faultvisor_monitor::StartError),
    /// The fault log to replay.
    #[error(transparent)]
    FaultReplay(#[from] LogError),
    /// The machine.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// Its guest.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The file for the process ID.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The main loop.
    #[error("the main loop failed: {0}")]
    Loop(event_manager::Error),
    /// A descriptor or a signal handler.
    #[error("cannot set up the program: {0}")]
    Setup(#[from] io::Error),
}

/// Runs a machine to its end.
///
/// # Errors
///
/// [`ProgramError`], before the guest runs, as one line that names what is wrong.
pub fn run(configuration: &Configuration) -> Result<Ending, ProgramError> {
    logging::install()?;
    let sandbox = Sandbox::prepare(configuration)?;
    // It may be a pipe: read while a signal still ends the program at once.
    let replay = match &configuration.fault_replay {
        Some(path) => Some(faults::read(path, |id| configuration.has_drive(id))?),
        None => None,
    };
    let confined = sandbox.clone();
    logging::start_thread(move || confined.begin(Kind::Log))?;
    let host_signal = host_signals::catch()?;
    let (inbox, sender) = Inbox::new()?;
    let signals = Signals::default();
    let monitor = Monitor::builder()
        .signals(&signals)
        .on_thread_start(sandbox.monitor_threads())
        .bind(&configuration.qmp)?;
    // Before files are truncated that another machine may be writing.
    let _pid_file = configuration
        .pidfile
        .as_deref()
        .map(PidFile::write)
        .transpose()?;
    let console = Console::open(&configuration.serial, &sandbox.device_threads())?;
    let output = console.output().clone();
    let plan = Plan {
        configuration,
        output: output.clone(),
        signals,
        inbox,
        sender: sender.clone(),
        host_signal,
        sandbox: sandbox.clone(),
        replay,
    };
    // The guest is loaded in the background until it is finished.
    let (machine, connections) = Machine::assemble(plan)?;
    let console = console.connect(connections.serial, connections.room, sender.clone())?;
    // The first notice, unless the machine waits for clients.
    let switch = sender.clone();
    monitor.when_clients_came(move || switch.send(Notice::PowerOn));
    let monitor = monitor.start(Box::new(Link::new(sender, connections.view)))?;
    if let Err(error) = sandbox::close_on_exec() {
        tracing::warn!(%error, "descriptors would be inherited by a program that is executed");
    }
    sandbox.confine(Kind::Main)?;
    let machine = machine.finish()?;

    let ending = machine.ending();
    let mut main_loop: EventManager<Box<dyn MutEventSubscriber>> =
        EventManager::new().map_err(ProgramError::Loop)?;
    let machine = std::rc::Rc::new(std::cell::RefCell::new(machine));
    main_loop.add_subscriber(Box::new(machine.clone()));
    if let Some(input) = console.subscriber {
        main_loop.add_subscriber(input);
    }
    let outcome = loop {
        if let Some(ending) = ending.get() {
            break Ok(ending);
        }
        if let Err(error) = main_loop.run() {
            break Err(ProgramError::Loop(error));
        }
    };
    // The loop drops its reference to the machine first, so that the machine can be taken apart.
    drop(main_loop);
    let mut outcome = outcome;
    if let Some(machine) = std::rc::Rc::into_inner(machine) {
        let machine = machine.into_inner();
        if configuration.fault_unfired != Unfired::Ignore {
            let unfired = machine.tell_of_unfired_rules();
            if unfired > 0 && configuration.fault_unfired == Unfired::Fail {
                outcome = outcome.map(Ending::with_unfired_rules);
            }
        }
        machine.close();
    }
    say_farewell(&output, monitor);
    drop(console.terminal);
    outcome
}

/// Flushes the console and the monitor's clients, within one time limit.
fn say_farewell(output: &ConsoleOutput, mut monitor: MonitorHandle) {
    monitor.begin_shutdown(FAREWELL);
    output.drain(FAREWELL, LIMIT);
    monitor.shutdown(FAREWELL);
    match output.pending() {
        0 => {}
        bytes => {
            tracing::warn!("{bytes} bytes of console output were not written: nobody took them");
        }
    }
}
