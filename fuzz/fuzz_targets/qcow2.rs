//! An arbitrary qcow2 image, and its driver's requests.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_devices::fuzzing::qcow2(input));
