//! A disk's driver, with the machine and the host around it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_devices::fuzzing::block(input));
