//! Faults as a guest sees them: every action in a Linux guest, and what databases and a file system keep of their
//! durable data at a power cut.

pub mod crash;
pub mod data;
pub mod errors;
pub mod time;

use faultvisor_tests::check_eq;
use faultvisor_tests::guest::Tools;
use faultvisor_tests::suite::{Context, Failure};
use libqmp::BlockFaultRemoveArguments;
use serde_json::Value;

use crate::client::Client;

/// Adds a rule and returns its name.
fn add(client: &Client, rule: Value) -> Result<String, Failure> {
    let added = client.execute_with("block-fault-add", rule)?;
    let id = added["id"].as_str();
    id.map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("a rule without a name: {added}")))
}

/// Removes a rule.
fn remove(client: &Client, id: &str) -> Result<(), Failure> {
    let id = id.to_owned();
    Ok(client.block_fault_remove(&BlockFaultRemoveArguments { id })?)
}

/// The number of hits of a rule.
fn hits(client: &Client, id: &str) -> Result<u64, Failure> {
    let disks = client.query_block_faults()?;
    let mut rules = disks.iter().flat_map(|disk| &disk.rules);
    let found = rules.find(|info| info.rule.id.as_deref() == Some(id));
    let found = found.ok_or_else(|| Failure::new(format!("no rule '{id}' in {disks:?}")))?;
    Ok(found.hits)
}

/// Removes a rule that must have this number of hits.
fn remove_after(client: &Client, id: &str, expected: u64) -> Result<(), Failure> {
    check_eq!(hits(client, id)?, expected);
    remove(client, id)
}

/// Skips the test if these programs were not built for guests.
fn need(context: &Context, tools: Tools) -> Result<(), Failure> {
    crate::block::need(context, tools)
}
