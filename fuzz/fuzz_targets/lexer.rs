//! The lexer: any split of the input yields the same messages.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| faultvisor_monitor::fuzzing::lexer(input));
