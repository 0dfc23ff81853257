//! The agent's protocol: any split of the input yields the same frames, and messages are stable.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_agent_protocol::fuzzing::agent(input));
