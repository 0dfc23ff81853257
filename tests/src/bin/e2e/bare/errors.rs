//! x
use faultvisor_tests::suite::Test;
pub const TESTS: &[Test] = &[];
