//! Carries out requests.

use std::sync::Arc;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::{self, Kind};
use faultvisor_agent_protocol::request::{Description, Empty, Request};
use serde::Serialize;

use crate::agent::{Agent, Slot};
use crate::connection::Connection;
use crate::serve::{close, malformed, refuse};
use crate::{copy, kernel_log, power, run, tcp};

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
        Request::CopyIn(request) => match copy::copy_in(&mut connection, request) {
            Ok(Some(copied)) => answer(&mut connection, &copied),
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        },
        Request::CopyOut(request) => copy::copy_out(&mut connection, &request),
        Request::Tcp(request) => match tcp::proxy(connection, request) {
            Ok(()) => return,
            Err((connection, failure)) => return refuse(connection, &failure),
        },
        Request::Mark(mark) => kernel_log::mark(&mark.text)
            .map_err(|error| {
                let message = format!("cannot write to the kernel's log: {error}");
                Failure::new(FailureKind::System, message)
            })
            .and_then(|()| answer(&mut connection, &Empty {})),
        Request::Power(request) => {
            // The client has the answer when it closes.
            if answer(&mut connection, &Empty {}).is_ok() {
                close(connection);
            }
            return power::end(request);
        }
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
