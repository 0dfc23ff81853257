//! Whatever guest and host do, the device keeps its promises and works after a reset.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::fuzzing::vsock;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn arbitrary_guests_and_hosts_do_not_break_the_device_for_good(
        input in vec(any::<u8>(), 0..1024),
    ) {
        vsock(&input);
    }
}

#[test]
fn no_guest_of_the_corpus_breaks_the_device_for_good() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/vsock");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().collect();
    assert!(!inputs.is_empty());
    for input in inputs {
        vsock(&fs::read(input.unwrap().path()).unwrap());
    }
}
