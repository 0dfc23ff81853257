//! Several rules: which of them acts, and what they see of each other.

use std::time::Duration;

use super::*;
use crate::block::fault::action::Alteration;
use crate::block::fault::draw::Delay;
use crate::block::fault::engine::INITIAL_STATE;

fn delay(id: &str, microseconds: u64) -> Rule {
    rule(id, FaultAction::Delay(Delay::Fixed(microseconds)))
}

#[test]
fn the_first_that_fires_decides() {
    let mut misdirect = rule("misdirect", FaultAction::Misdirect { to_sector: 9 });
    misdirect.matching.kinds = Kinds::WRITE;
    let mut bench = Bench::new([
        misdirect,
        rule("fail", FAIL),
        rule("drop", FaultAction::Drop),
    ]);
    let judgement = bench.judge(&write(0, 1));
    assert_eq!(judgement.fate, Fate::Alter(Alteration::Misdirect(9)));
    assert_eq!(bench.fired(&flush()), ["fail"]);
    // A rule that was not asked has not matched.
    let counts = [0, 1, 2].map(|rule| bench.counts(rule));
    assert_eq!(counts, [(1, 1), (1, 1), (0, 0)]);
}

#[test]
fn a_rule_for_a_part_of_the_disk_keeps_its_place_among_the_others() {
    let part = |id, first| {
        let mut part = rule(id, FAIL);
        part.matching.sectors = Some((first, 100));
        part
    };
    let rules = [part("a", 50), rule("b", FaultAction::Drop), part("c", 0)];
    let mut bench = Bench::new(rules);
    assert_eq!(bench.fired(&write(60, 1)), ["a"]);
    assert_eq!(bench.fired(&write(10, 1)), ["b"]);
    bench.engine.remove("b");
    assert_eq!(bench.fired(&write(10, 1)), ["c"]);
    bench.add(part("d", 500));
    assert_eq!(bench.fired(&write(510, 1)), ["d"]);
    bench.engine.remove("a");
    assert_eq!(bench.fired(&write(60, 1)), ["c"]);
}

#[test]
fn delays_and_states_let_the_next_ones_look() {
    let rules = [
        delay("a", 100),
        set_state("b", "2"),
        delay("c", 23),
        rule("d", FaultAction::Hang),
        delay("e", 1),
    ];
    let mut bench = Bench::new(rules);
    let judgement = bench.judge(&flush());
    let fired: Vec<_> = judgement
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(fired, ["a", "b", "c", "d"]);
    assert_eq!(judgement.delay, Duration::from_micros(123));
    assert!(matches!(judgement.fate, Fate::Hang(record) if record.id == "d"));
    assert_eq!(bench.view.get().state, "2");
}

#[test]
fn a_request_is_only_late_if_nothing_else_is_decided() {
    let judgement = Bench::new([delay("late", 5)]).judge(&flush());
    assert_eq!(judgement.delay, Duration::from_micros(5));
    assert_eq!(judgement.fate, Fate::Perform);
    let judgement = Bench::new([]).judge(&flush());
    assert_eq!(
        (judgement.delay, judgement.fate),
        (Duration::ZERO, Fate::Perform)
    );
    assert_eq!(judgement.records, []);
}

#[test]
fn all_rules_of_one_request_see_the_state_before_it() {
    let mut forward = set_state("forward", "2");
    forward.matching.state = Some("1".to_owned());
    let mut back = set_state("back", "1");
    back.matching.state = Some("2".to_owned());
    let mut fail = rule("fail", FAIL);
    fail.matching.state = Some("2".to_owned());
    let mut bench = Bench::new([forward, back, fail]);
    assert_eq!(bench.fired(&flush()), ["forward"]);
    assert_eq!(bench.view.get().state, "2");
    assert_eq!(bench.fired(&flush()), ["back", "fail"]);
    assert_eq!(bench.view.get().state, "1");
    assert_eq!(bench.fired(&flush()), ["forward"]);
}

#[test]
fn the_last_of_several_new_states_holds() {
    let mut bench = Bench::new([set_state("a", "2"), set_state("b", "3"), rule("c", FAIL)]);
    // Behind what decides, nothing acts.
    bench.add(set_state("d", "4"));
    assert_eq!(bench.fired(&flush()), ["a", "b", "c"]);
    assert_eq!(bench.view.get().state, "3");
}

#[test]
fn a_rule_that_is_gone_does_nothing_and_the_others_go_on_counting() {
    let mut skips = rule("skips", FAIL);
    skips.matching.skip = 2;
    let mut bench = Bench::new([rule("gone", FaultAction::Hang), skips]);
    assert!(!bench.engine.is_idle());
    assert_eq!(bench.fired(&flush()), ["gone"]);
    bench.engine.remove("gone");
    bench.engine.remove("nobody");
    let fired = [(); 3].map(|()| bench.fails(&flush()));
    assert_eq!(fired, [false, false, true]);
    assert_eq!((bench.counts(0), bench.counts(1)), ((1, 1), (3, 1)));
    bench.engine.remove("skips");
    assert!(bench.engine.is_idle());
}

#[test]
fn cleared_rules_are_gone_and_the_state_is_the_first_one_again() {
    let mut part = rule("part", FAIL);
    part.matching.sectors = Some((0, 8));
    let mut bench = Bench::new([set_state("a", "2"), part]);
    assert_eq!(bench.fired(&read(0, 1)), ["a", "part"]);
    bench.engine.clear();
    assert!(bench.engine.is_idle());
    assert_eq!(bench.view.get().state, INITIAL_STATE);
    assert_eq!(bench.judge(&read(0, 1)).records, []);
    let mut first = rule("first", FAIL);
    first.matching.state = Some(INITIAL_STATE.to_owned());
    bench.add(first);
    assert!(bench.fails(&flush()));
}

#[test]
fn the_board_shows_the_state_of_the_engine_that_has_it() {
    let mut bench = Bench::new([]);
    assert_eq!(bench.view.get().state, INITIAL_STATE);
    bench.engine.set_state("broken");
    assert_eq!(bench.view.get().state, "broken");
    let hanging = vec![record(Decision::Hang)];
    for record in hanging.iter().rev() {
        bench.view.hangs(record);
    }
    bench.engine.clear();
    // Hanging requests stay hanging.
    assert_eq!(bench.view.get().hanging, hanging);
    bench.engine.set_state("broken");
    let _another = Engine::new("disk0", bench.view.clone());
    assert_eq!(bench.view.get().state, INITIAL_STATE);
}
