//! A vsock device's driver, with clients and listeners of the host.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_devices::fuzzing::vsock(input));
