//! Programs: each has a thread, which drives its pipes and its client.

mod cgroup;
mod client;
mod deadlines;
mod driver;
mod group;
mod mailbox;
mod output;
mod program;
pub mod registry;
mod ring;
mod spawn;
mod tree;

use std::sync::Arc;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::run::{Attach, Resize, Run, Signal};

use self::client::{Client, Received};
use self::driver::Driver;
use crate::agent::{Agent, Slot};
use crate::connection::Connection;
use crate::serve::refuse;

/// Runs a program, and drives it in this thread until it has ended and its client knows.
pub fn run(agent: &Arc<Agent>, connection: Connection, slot: Slot, request: &Run) {
    match spawn::start(agent, request) {
        Ok(started) => {
            let client = Client::new(connection, slot);
            Driver::new(Arc::clone(agent), started, request).drive(client);
        }
        Err(failure) => refuse(connection, &failure),
    }
}

/// Hands a client to the thread that drives its run.
pub fn attach(agent: &Agent, connection: Connection, slot: Slot, attach: &Attach) {
    let entry = if attach.boot == agent.boot {
        agent.runs.find(attach.run)
    } else {
        let message = "the guest has been started again since the program was";
        Err(Failure::new(FailureKind::NoSuchRun, message))
    };
    let entry = match entry {
        Ok(entry) => entry,
        Err(failure) => return refuse(connection, &failure),
    };
    let received = Received {
        output: attach.output,
        errors: attach.errors,
    };
    if let Err(client) = entry
        .mailbox
        .attach(Client::new(connection, slot), received)
    {
        refuse(client.into_connection(), &registry::no_such_run(attach.run));
    }
}

/// Sends a signal to a run.
pub fn signal(agent: &Agent, request: Signal) -> Result<(), Failure> {
    let entry = agent.runs.find(request.run)?;
    let Some(signal) = rustix::process::Signal::from_named_raw(request.signal) else {
        let message = format!("there is no signal {}", request.signal);
        return Err(Failure::new(FailureKind::Malformed, message));
    };
    if signal == rustix::process::Signal::KILL {
        // Before the kill, which may take a while itself.
        entry.mailbox.killed();
    }
    entry.group.signal(signal);
    Ok(())
}

/// Changes the size of a run's terminal.
pub fn resize(agent: &Agent, request: Resize) -> Result<(), Failure> {
    let entry = agent.runs.find(request.run)?;
    let Some(terminal) = &entry.terminal else {
        let message = format!("run {} has no terminal", request.run.0);
        return Err(Failure::new(FailureKind::System, message));
    };
    spawn::set_size(terminal, request.size).map_err(|error| {
        let message = format!("cannot change the size of the terminal: {error}");
        Failure::new(FailureKind::System, message)
    })
}
