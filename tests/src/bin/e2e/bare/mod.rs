//! Tests with the bare-metal guest, which runs on any KVM and sends only the test's own requests.

pub mod chains;
pub mod clients;
pub mod console;
pub mod descriptors;
pub mod entropy;
pub mod errors;
pub mod faults;
pub mod harness;
pub mod held;
pub mod images;
mod injection;
pub mod io;
pub mod limits;
pub mod locking;
pub mod measurement;
pub mod memory;
pub mod order;
pub mod panics;
pub mod pid_files;
pub mod power;
mod pty;
pub mod qcow2;
pub mod queues;
pub mod races;
pub mod ranges;
pub mod readers;
pub mod resize;
pub mod sandbox;
pub mod sockets;
pub mod space;
pub mod statistics;
pub mod sweep;
pub mod terminal;
pub mod threads;
pub mod untaken;
pub mod vsock;
pub mod write_cache;

use std::path::PathBuf;

use faultvisor_harness::Process;
use faultvisor_tests::bare;
use faultvisor_tests::client::{Client, Event};
use faultvisor_tests::suite::{Context, Failure};
use faultvisor_tests::{check, check_eq};
use libqmp::BlockDeviceIoStatus;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

/// An image in the test's directory, with the pattern of `seed`.
fn image(context: &Context, name: &str, seed: u64, sectors: usize) -> Result<PathBuf, Failure> {
    let path = context.path(name);
    bare::image(&path, seed, sectors)?;
    Ok(path)
}

/// Sets the limit on the size of files that the program writes, in bytes.
fn limit_file_size(machine: &Process, bytes: Option<u64>) -> Result<(), Failure> {
    let pid = i32::try_from(machine.id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit)?;
    Ok(())
}

/// Fails unless the machine has that run state, and the first disk that io-status; empty means none.
fn check_state(client: &Client, state: &str, io_status: &str) -> Result<(), Failure> {
    let status = client.query_status()?;
    check_eq!(status.status.name(), state);
    check_eq!(status.running, state == "running");
    let disks = client.query_block()?;
    let found = disks.first().and_then(|disk| disk.io_status);
    let found = found.map_or("", BlockDeviceIoStatus::name);
    check!(
        found == io_status,
        "the io-status is '{found}', not '{io_status}', in state {state}"
    );
    Ok(())
}

/// Fails unless an event has this name and these members in its data.
fn check_event(event: &Event, name: &str, data: &[(&str, Value)]) -> Result<(), Failure> {
    let fits = event.name == name && data.iter().all(|(key, value)| event.data[key] == *value);
    check!(fits, "{event:?} is not {name} with {data:?}");
    Ok(())
}
