//! Faults: rules that a client gives a disk, and their effects on the guest and the client.

pub mod alterations;
pub mod breakpoints;
pub mod chance;
pub mod conditions;
pub mod delays;
pub mod given;
pub mod hanging;
pub mod matrix;
mod nonsense;
pub mod power_cut;
pub mod refused;
pub mod resets;
pub mod storms;
pub mod survivors;
pub mod volatile;

use std::path::PathBuf;

use faultvisor_tests::bare::{BareMachine, Plan, Report, SOON};
use faultvisor_tests::client::{Client, Event};
use faultvisor_tests::suite::{Context, Failure};
use faultvisor_tests::{check, check_eq};
use libqmp::{AccessorArguments, BlockFaultInjectedEvent, BlockFaultRemoveArguments, Error};
use serde_json::{Value, json};

/// The events that a rig receives.
const EVENTS: [&str; 6] = [
    "BLOCK_FAULT_INJECTED",
    "BLOCK_IO_ERROR",
    "BLOCK_POWER_CUT",
    "STOP",
    "RESUME",
    "RESET",
];

/// A machine whose first disk is "d0", and a client that receives events of faults, errors, and the run state.
struct Rig {
    machine: BareMachine,
    client: Client,
    /// The first disk's faults, beside those of all disks in `client`.
    injected: BlockFaultInjectedEvent,
    /// The guest's first report, of setting up the disk.
    setup: Report,
}

impl Rig {
    /// Starts the machine, and waits for the guest's first `choose`.
    fn start(plan: Plan<'_>) -> Result<Self, Failure> {
        let mut machine = plan.start()?;
        // It runs by then, so that all later events are caused by the test.
        let setup = machine.report("setup")?;
        machine.report("choose")?;
        let client = machine.client()?.only(&EVENTS);
        let of_d0 = AccessorArguments {
            device: Some("d0".to_owned()),
            ..AccessorArguments::default()
        };
        let injected = client.get_block_fault_injected_event_with(&of_d0)?;
        Ok(Self {
            machine,
            client,
            injected,
            setup,
        })
    }

    /// Lets the guest take its next step.
    fn go(&mut self) -> Result<(), Failure> {
        Ok(self.machine.machine.console().type_text("c")?)
    }

    /// The guest's report of its next request or burst.
    fn done(&mut self) -> Result<Report, Failure> {
        self.machine.report("done")
    }

    /// Executes a command without arguments.
    fn simply(&mut self, command: &str) -> Result<Value, Failure> {
        Ok(self.client.execute(command)?)
    }

    fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Failure> {
        Ok(self.client.execute_with(command, arguments)?)
    }

    /// Adds a rule; "device" is "d0" by default.
    fn add(&mut self, rule: Value) -> Result<Value, Failure> {
        self.execute("block-fault-add", of_d0(rule))
    }

    /// Fails unless a command is refused; returns the error's class and description.
    fn refused(&mut self, command: &str, arguments: &Value) -> Result<(String, String), Failure> {
        match self.client.execute_with(command, arguments.clone()) {
            Err(Error::Command { class, desc, .. }) => Ok((class.to_string(), desc)),
            other => Err(Failure::new(format!("{command} {arguments}: {other:?}"))),
        }
    }

    /// Removes a rule.
    fn remove(&mut self, id: &str) -> Result<(), Failure> {
        let id = id.to_owned();
        let arguments = BlockFaultRemoveArguments { id };
        Ok(self.client.block_fault_remove(&arguments)?)
    }

    /// The first disk's `query-block-faults`.
    fn faults(&mut self) -> Result<Value, Failure> {
        Ok(self.simply("query-block-faults")?[0].take())
    }

    /// Number of hanging requests.
    fn hanging(&mut self) -> Result<usize, Failure> {
        let disks = self.client.query_block_faults()?;
        Ok(disks.first().map_or(0, |disk| disk.hanging.len()))
    }

    /// Waits until that many requests hang.
    fn wait_for_hanging(&mut self, count: usize) -> Result<(), Failure> {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let found = self.hanging()?;
            if found == count {
                return Ok(());
            }
            check!(
                found < count && std::time::Instant::now() < deadline,
                "{found} requests hang, not {count}"
            );
        }
    }

    /// Releases hanging requests, and fails unless that many were released.
    fn release(&mut self, arguments: Value, count: usize) -> Result<(), Failure> {
        let answer = self.execute("block-fault-release", of_d0(arguments))?;
        check_eq!(answer, json!({ "released": count }));
        Ok(())
    }

    /// The next event, which has to be this one.
    fn event(&mut self, name: &str) -> Result<Event, Failure> {
        let event = self.client.next_event()?;
        check!(event.name == name, "{event:?} came, and not {name}");
        Ok(event)
    }

    /// The next injected fault, which both connections report.
    fn injected(&mut self) -> Result<Value, Failure> {
        let first = self.event("BLOCK_FAULT_INJECTED")?;
        let second = self.injected.recv_timeout(SOON)?;
        check_eq!(first.timestamp, second.timestamp);
        check_eq!(first.data, serde_json::to_value(&second.data)?);
        Ok(first.data)
    }

    /// Fails after an unexpected event. All earlier events arrive before this command's answer.
    fn is_quiet(&mut self) -> Result<(), Failure> {
        self.simply("query-status")?;
        let events = self.client.take_events()?;
        check!(events.is_empty(), "nobody expected {events:?}");
        let fault = self.injected.try_recv()?;
        check!(fault.is_none(), "nobody expected {fault:?}");
        Ok(())
    }

    /// Discards all events until now.
    fn forget_events(&mut self) -> Result<(), Failure> {
        self.client.take_events()?;
        while self.injected.try_recv()?.is_some() {}
        Ok(())
    }

    /// Stops the machine, which drains the disks.
    fn stop(&mut self) -> Result<(), Failure> {
        self.client.stop()?;
        self.event("STOP").map(drop)
    }

    fn cont(&mut self) -> Result<(), Failure> {
        self.client.cont()?;
        self.event("RESUME").map(drop)
    }

    fn ends_well(&mut self) -> Result<(), Failure> {
        self.machine.ends_well()
    }
}

/// Adds the first disk as the "device", unless there is one.
fn of_d0(mut arguments: Value) -> Value {
    if arguments.get("device").is_none() {
        arguments["device"] = json!("d0");
    }
    arguments
}

/// A script whose guest waits for a key before each of these steps.
fn step_by_step(steps: &[&str]) -> String {
    let steps: String = steps
        .iter()
        .map(|step| format!("choose\n{step}\n"))
        .collect();
    format!("setup 0\n{steps}choose\nexit off")
}

/// A rig of which the first disk is an image of so many sectors from seed 1, named "disk".
fn rig(context: &Context, script: &str, sectors: usize, options: &str) -> Result<Rig, Failure> {
    let disk = super::image(context, "disk", 1, sectors)?;
    let plan = Plan::new(context, script)?.disk(&disk, &format!("id=d0,{options}"));
    Rig::start(plan)
}

/// Where the disk of [`rig`] is.
fn disk(context: &Context) -> PathBuf {
    context.path("disk")
}
