//! The engine beside the plainest one that could be.

use proptest::prelude::*;

use super::*;
use crate::block::fault::draw::Delay;
use crate::block::fault::engine::INITIAL_STATE;
use crate::block::fault::rng::Chance;

/// Rules and what they have done, in a list that is walked through.
struct Model {
    rules: Vec<(Rule, u64, u64)>,
    state: String,
}

impl Model {
    fn fired(&mut self, ordinal: u64, attempt: u32, request: &Request) -> Vec<String> {
        let (mut fired, mut new_state) = (Vec::new(), None);
        for (rule, matches, hits) in &mut self.rules {
            let of = &rule.matching;
            let holds = of.kinds.contains(Kinds::of(&request.operation))
                && overlaps(request, of.sectors)
                && of.state.as_ref().is_none_or(|state| *state == self.state)
                && request.length() >= of.min_bytes
                && request.length() <= of.max_bytes;
            if !holds {
                continue;
            }
            *matches += 1;
            let chance = Chance::new(rule.seed, [ordinal, attempt.into()]).fraction();
            if *matches <= of.skip || *hits == of.count || chance >= of.probability {
                continue;
            }
            *hits += 1;
            fired.push(rule.id.clone());
            match &rule.action {
                FaultAction::SetState(state) => new_state = Some(state.clone()),
                FaultAction::Delay(_) => {}
                _ => break,
            }
        }
        self.state = new_state.unwrap_or_else(|| self.state.clone());
        fired
    }
}

/// Whether a request touches one of these sectors, asked of each of its sectors.
fn overlaps(request: &Request, sectors: Option<(u64, u64)>) -> bool {
    let Some((first, count)) = sectors else {
        return true;
    };
    let whole = |offset| Range {
        offset,
        length: request.length(),
    };
    let ranges = match &request.operation {
        Operation::Read { offset } | Operation::Write { offset, .. } => vec![whole(*offset)],
        Operation::Flush => Vec::new(),
        Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => ranges.clone(),
    };
    let mut touched = ranges
        .iter()
        .flat_map(|range| range.offset / SECTOR_SIZE..(range.offset + range.length) / SECTOR_SIZE);
    touched.any(|sector| sector >= first && sector - first < count)
}

fn matching() -> impl Strategy<Value = Match> {
    let kinds = prop_oneof![
        2 => Just(Kinds::ALL),
        1 => Just(Kinds::READ),
        1 => Just(Kinds::WRITE.with(Kinds::FLUSH)),
        1 => Just(Kinds::DISCARD.with(Kinds::WRITE_ZEROES)),
    ];
    let sectors = prop_oneof![
        3 => (0_u64..60, 0_u64..20),
        1 => (0_u64..60, Just(u64::MAX)),
    ];
    (
        kinds,
        prop::option::weighted(0.8, sectors),
        prop::option::weighted(0.3, "[123]"),
        (0_u64..4, prop_oneof![Just(u64::MAX), 0_u64..12]),
        prop_oneof![2 => Just(0), 1 => 0_u64..4],
        prop_oneof![2 => Just(u64::MAX), 1 => 0_u64..4],
        prop_oneof![Just(1.0), Just(0.5), Just(0.0)],
    )
        .prop_map(
            |(kinds, sectors, state, (least, most), skip, count, probability)| Match {
                kinds,
                sectors,
                state,
                min_bytes: least * SECTOR_SIZE,
                max_bytes: most.saturating_mul(SECTOR_SIZE),
                skip,
                count,
                probability,
            },
        )
}

fn action() -> impl Strategy<Value = FaultAction> {
    prop_oneof![
        Just(FAIL),
        Just(FaultAction::Hang),
        Just(FaultAction::Delay(Delay::Fixed(1))),
        "[123]".prop_map(FaultAction::SetState),
    ]
}

fn any_request() -> impl Strategy<Value = Request> {
    let part = || (0_u64..70, 0_u64..12);
    let parts = || prop::collection::vec(part(), 0..4);
    prop_oneof![
        3 => part().prop_map(|(first, count)| read(first, count)),
        3 => part().prop_map(|(first, count)| write(first, count)),
        1 => Just(()).prop_map(|()| flush()),
        1 => parts().prop_map(|parts| discard(&parts)),
        1 => parts().prop_map(|parts| write_zeroes(&parts)),
    ]
}

/// What is done to an engine.
#[derive(Debug, Clone)]
enum EngineStep {
    Add(Match, FaultAction, u64),
    Remove(usize),
    SetState(String),
    Clear,
    Judge(u32, Request),
}

fn step() -> impl Strategy<Value = EngineStep> {
    prop_oneof![
        20 => (matching(), action(), 0_u64..5)
            .prop_map(|(matching, action, seed)| EngineStep::Add(matching, action, seed)),
        5 => (0_usize..20).prop_map(EngineStep::Remove),
        2 => "[123]".prop_map(EngineStep::SetState),
        1 => Just(EngineStep::Clear),
        40 => (0_u32..3, any_request()).prop_map(|(attempt, request)| EngineStep::Judge(attempt, request)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_engine_does_what_looking_at_all_rules_does(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut bench = Bench::new([]);
        let mut model = Model { rules: Vec::new(), state: INITIAL_STATE.to_owned() };
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                EngineStep::Add(matching, action, seed) => {
                    let rule = Rule { id: number.to_string(), matching, action, seed };
                    model.rules.push((rule.clone(), 0, 0));
                    bench.add(rule);
                }
                EngineStep::Remove(at) if at < model.rules.len() => {
                    let (rule, ..) = model.rules.remove(at);
                    bench.engine.remove(&rule.id);
                    bench.counts.remove(at);
                }
                EngineStep::Remove(_) => bench.engine.remove("nobody"),
                EngineStep::SetState(state) => {
                    bench.engine.set_state(&state);
                    model.state = state;
                }
                EngineStep::Clear => {
                    bench.engine.clear();
                    bench.counts.clear();
                    model.rules.clear();
                    model.state = INITIAL_STATE.to_owned();
                }
                EngineStep::Judge(attempt, request) => {
                    let ordinal = number as u64;
                    let records = bench.engine.judge(ordinal, attempt, &request).records;
                    let fired: Vec<_> = records.into_iter().map(|record| record.id).collect();
                    prop_assert_eq!(fired, model.fired(ordinal, attempt, &request));
                }
            }
            prop_assert_eq!(&bench.view.get().state, &model.state);
            prop_assert_eq!(bench.engine.is_idle(), model.rules.is_empty());
        }
        for (at, (_, matches, hits)) in model.rules.iter().enumerate() {
            prop_assert_eq!(bench.counts(at), (*matches, *hits));
        }
    }
}
