//! A qcow2 image with anything in it, and what its driver asks for.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_devices::fuzzing::qcow2(input));
