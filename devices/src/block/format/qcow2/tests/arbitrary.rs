//! Whatever is in an image, and whatever its driver asks for, nothing breaks.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::fuzzing::qcow2;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_images_and_drivers_break_nothing(
        input in vec(any::<u8>(), 0..400),
    ) {
        qcow2(&input);
    }
}

#[test]
fn no_image_of_the_corpus_breaks_anything() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/qcow2");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().collect();
    assert!(!inputs.is_empty());
    for input in inputs {
        qcow2(&fs::read(input.unwrap().path()).unwrap());
    }
}
