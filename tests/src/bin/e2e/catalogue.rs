//! Every end-to-end test there is: a list a file.

use faultvisor_tests::suite::Test;

use crate::{
    bare, block, boot, console, disk, features, life_cycle, place, read_error, write_error,
    wrong_use,
};

/// The tests, in the order in which they run.
pub const TESTS: &[&[Test]] = &[
    wrong_use::BEFORE_KVM,
    wrong_use::WITH_KVM,
    life_cycle::WITH_KVM,
    bare::power::TESTS,
    bare::io::TESTS,
    bare::queues::TESTS,
    bare::ranges::TESTS,
    bare::write_cache::TESTS,
    bare::resize::TESTS,
    bare::locking::TESTS,
    bare::images::TESTS,
    bare::qcow2::TESTS,
    bare::measurement::TESTS,
    bare::statistics::TESTS,
    bare::errors::TESTS,
    bare::space::TESTS,
    bare::held::TESTS,
    bare::limits::TESTS,
    bare::races::TESTS,
    bare::faults::matrix::TESTS,
    bare::chains::TESTS,
    bare::console::TESTS,
    bare::terminal::TESTS,
    bare::clients::TESTS,
    bare::sockets::TESTS,
    place::TESTS,
    boot::TESTS,
    console::TESTS,
    life_cycle::TESTS,
    disk::TESTS,
    features::TESTS,
    write_error::TESTS,
    read_error::TESTS,
    block::fio::TESTS,
    block::file_systems::TESTS,
];
