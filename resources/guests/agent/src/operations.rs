//! Carries out requests.

use std::sync::Arc;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::{self, Kind};
use faultvisor_agent_protocol::request::{Description, Empty, Request};
use serde::Serialize;

use crate::agent::{Agent, Slot};
use crate::connection::Connection;
use crate::run;
use crate::serve::{close, malformed, refuse};

/// Carries out a client's request, in this thread.
pub fn perform(agent: &Arc<Agent>, mut connection: Connection, slot: Slot, request: Request) {
    let performed = match request {
        Request::Run(run) => return run::run(agent, connection, slot, &run),
        Request::Attach(attach) => return run::attach(agent, connection, slot, &attach),
        Request::Signal(signal) => {
            run::signal(agent, signal).and_then(|()| answer(&mut connection, &Empty {}))
        }
        Request::Resize(resize) => {
            run::resize(agent, resize).and_then(|()| answer(&mut connection, &Empty {}))
        }
        Request::Info(_) => answer(&mut connection, &describe(agent)),
        _ => Err(Failure::new(
            FailureKind::Malformed,
            "this agent does not know the request",
        )),
    };
    match performed {
        Ok(()) => close(connection),
        Err(failure) => refuse(connection, &failure),
    }
}

/// Answers a request.
pub fn answer(connection: &mut Connection, answer: &impl Serialize) -> Result<(), Failure> {
    frame::write_message(connection, Kind::Answer, answer).map_err(|error| malformed(&error))
}

fn describe(agent: &Agent) -> Description {
    let system = rustix::system::uname();
    Description {
        kernel: system.release().to_string_lossy().into_owned(),
        is_init: agent.is_init(),
        runs: agent.runs.count(),
    }
}
