//! Whatever a driver writes, the device neither panics nor hangs, and works after a reset.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies::config;
use crate::fuzzing::{Choices, Machine, block};

proptest! {
    #![proptest_config(config(600))]

    /// Each deed has bytes of its own, so that a failure shrinks to the deeds that cause it.
    #[test]
    fn nothing_that_a_driver_does_breaks_the_device_for_good(
        setup in vec(any::<u8>(), 4),
        deeds in vec(vec(any::<u8>(), 2..24), 1..60),
    ) {
        let mut machine = Machine::new(&mut Choices::new(&setup));
        for bytes in &deeds {
            machine.commit(Choices::new(bytes).deed());
        }
        machine.recover();
    }

    #[test]
    fn arbitrary_drivers_do_not_break_the_device_for_good(
        input in vec(any::<u8>(), 0..1024),
    ) {
        block(&input);
    }
}

#[test]
fn no_driver_of_the_corpus_breaks_the_device_for_good() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/block");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().collect();
    assert!(!inputs.is_empty());
    for input in inputs {
        block(&fs::read(input.unwrap().path()).unwrap());
    }
}
