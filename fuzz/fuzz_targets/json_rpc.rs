//! A JSON-RPC session: arbitrary bytes in arbitrary pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_monitor::fuzzing::json_rpc(input));
