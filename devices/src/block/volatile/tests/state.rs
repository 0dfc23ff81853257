//! Saving and restoring a cache.

use proptest::prelude::*;
use serde_json::json;

use super::cache;
use super::model::{CacheStep, Model, capacity, config, run, steps};
use crate::block::fault::rng::Chance;
use crate::block::model::cache_state::CacheState;
use crate::block::model::power_cut::{Loss, PowerCut, Survival};
use crate::life_cycle::RestoreError;

/// The state as in a file.
fn saved(model: &mut Model) -> CacheState {
    let state = model.bench.backend.save_cache().unwrap();
    serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap()
}

/// A new cache with the model's state, in front of a copy of its medium.
fn restored(model: &mut Model, capacity: u64, seed: u64) -> Model {
    let state = saved(model);
    let mut copy = model.copy(capacity, seed);
    copy.bench.backend.restore_cache(Some(&state)).unwrap();
    assert_eq!(copy.bench.backend.save_cache(), Some(state));
    copy
}

/// Steps without a cut, and turns of the medium after each that nobody can foresee.
fn go_on(model: &mut Model, steps: &[CacheStep], medium: u64) {
    let mut chance = Chance::new(medium, [2, 2]);
    for step in steps {
        if let CacheStep::Turn(_) | CacheStep::Cut(..) = step {
            continue;
        }
        model.step(step);
        model.step(&CacheStep::Turn(u8::from(chance.coin()) * 3));
    }
    model.drain();
}

fn cut(model: &mut Model, cut: &PowerCut) -> (Loss, Vec<u8>) {
    let loss = model.bench.backend.power_cut(cut).unwrap();
    let durable = model.bench.image.state().durable.clone();
    (loss, durable)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_cache_that_is_saved_and_restored_serves_and_loses_what_the_first_would_have(
        steps in [steps(), steps()],
        has_discards in any::<bool>(),
        capacity in capacity(),
        media in [any::<u64>(), any::<u64>()],
        seed in any::<u64>(),
        kind in 0..4usize,
    ) {
        // When a discard is carried out is the medium's affair, and until then its sectors read as before: the model
        // checks what may be read, but two media differ.
        let steps = steps.map(|steps| {
            let is_discard = |step: &CacheStep| matches!(step, CacheStep::Discard(..));
            let steps = steps.into_iter();
            steps.filter(|step| has_discards || !is_discard(step)).collect::<Vec<_>>()
        });
        let kinds = [Survival::None, Survival::All, Survival::Prefix, Survival::Random];
        let loss = PowerCut { survival: kinds[kind], seed, tear_bytes: 64 };
        let [before, after] = steps;
        let mut untouched = run(&before, capacity, media[0], 0);
        let mut first = run(&before, capacity, media[0], 0);
        let mut second = restored(&mut first, capacity, media[1]);
        let mut third = restored(&mut second, capacity, media[0]);
        let ends = [&mut untouched, &mut first, &mut second, &mut third].map(|model| {
            go_on(model, &after, seed);
            let seen = model.read_all();
            (seen, cut(model, &loss))
        });
        for end in ends[1..].iter().filter(|_| !has_discards) {
            prop_assert!(end.0 == ends[0].0, "it reads differently");
            prop_assert_eq!(end.1.0, ends[0].1.0);
            prop_assert!(end.1.1 == ends[0].1.1, "other bytes are lost");
        }
    }

    #[test]
    fn what_the_medium_refused_is_saved_and_written_later(
        steps in steps(),
        capacity in capacity(),
        media in [any::<u64>(), any::<u64>()],
    ) {
        let mut first = run(&steps, capacity, media[0], 6);
        let mut second = restored(&mut first, capacity, media[1]);
        for model in [&mut first, &mut second] {
            model.bench.image.state().one_fails_of = 0;
            model.fails = false;
        }
        let seen = first.read_all();
        prop_assert!(second.read_all() == seen);
        // What was discarded reads as before until then.
        let written = [&mut first, &mut second].map(|model| {
            model.step(&CacheStep::Flush);
            model.drain();
            let durable = model.bench.image.state().durable.clone();
            (model.read_all() == durable, durable)
        });
        prop_assert!(written[0].0 && written[1].0);
        prop_assert!(written[0].1 == written[1].1);
    }
}

#[test]
fn a_state_that_no_such_cache_can_have_is_refused_and_changes_nothing() {
    let data = json!({ "data": "A".repeat(684) });
    let change = |offset: u64, length: u64, content: &serde_json::Value| json!({ "ranges": [{ "offset": offset, "length": length }], "content": content, "refused": null });
    let zeroes = json!({ "zeroes": "keep-space" });
    let mut refused = change(0, 512, &zeroes);
    refused["refused"] = json!(5);
    let mut two = change(0, 512, &data);
    two["ranges"] = json!([{ "offset": 0, "length": 512 }, { "offset": 512, "length": 512 }]);
    let mut none = change(0, 512, &zeroes);
    none["ranges"] = json!([]);
    let many: Vec<_> = (0..64).map(|_| change(0, 512, &zeroes)).collect();
    let state = |changes: serde_json::Value| json!({ "changes": changes, "last_error": null });
    let possible = state(json!([refused, change(0, 512, &zeroes)]));
    let out_of_range = [
        ("offset", state(json!([change(8 * 512, 512, &zeroes)]))),
        (
            "offset",
            state(json!([change(u64::MAX - 511, 512, &zeroes)])),
        ),
        ("offset", state(json!([change(1, 512, &zeroes)]))),
        ("offset", state(json!([change(0, u64::MAX, &zeroes)]))),
        ("length", state(json!([change(0, 0, &zeroes)]))),
        ("length", state(json!([change(0, 511, &zeroes)]))),
        ("length", state(json!([change(0, 1024, &data)]))),
        ("ranges", state(json!([two]))),
        ("ranges", state(json!([none]))),
        ("refused", state(json!([change(0, 512, &zeroes), refused]))),
        ("changes", state(json!(many))),
    ];
    let mut bench = cache(8, 4096, 1);
    let possible: CacheState = serde_json::from_value(possible).unwrap();
    bench.backend.restore_cache(Some(&possible)).unwrap();
    for (member, state) in out_of_range {
        let parsed: CacheState = serde_json::from_value(state.clone()).unwrap();
        let error = bench.backend.restore_cache(Some(&parsed)).unwrap_err();
        let named =
            matches!(error, RestoreError::OutOfRange { member: named, .. } if named == member);
        assert!(named, "{state}: {error}");
        assert_eq!(bench.backend.save_cache(), Some(possible.clone()));
    }
    let none = bench.backend.restore_cache(None).unwrap_err();
    assert!(matches!(none, RestoreError::Mismatch { .. }), "{none}");
}

#[test]
fn a_state_is_refused_that_is_no_text_of_bytes_or_has_more_than_its_members() {
    for text in [
        r#"{"changes":[],"last_error":0}"#,
        r#"{"changes":[],"last_error":null,"more":1}"#,
        r#"{"changes":[{"ranges":[],"content":{"data":"A"},"refused":null}],"last_error":null}"#,
        r#"{"changes":[{"ranges":[],"content":{"data":[0]},"refused":null}],"last_error":null}"#,
        r#"{"changes":[{"ranges":[],"content":"kept","refused":null}],"last_error":null}"#,
    ] {
        assert!(serde_json::from_str::<CacheState>(text).is_err(), "{text}");
    }
}
