//! Every end-to-end test there is: a list a file.

use faultvisor_tests::suite::Test;

use crate::place;

/// The tests, in the order in which they run.
pub const TESTS: &[&[Test]] = &[place::TESTS];
