//! Every end-to-end test there is: a list a file.

use faultvisor_tests::suite::Test;

use crate::{bare, place};

/// The tests, in the order in which they run.
pub const TESTS: &[&[Test]] = &[
    place::TESTS,
    bare::power::TESTS,
    bare::io::TESTS,
    bare::errors::TESTS,
    bare::space::TESTS,
    bare::held::TESTS,
    bare::races::TESTS,
    bare::chains::TESTS,
    bare::console::TESTS,
    bare::terminal::TESTS,
    bare::clients::TESTS,
];
