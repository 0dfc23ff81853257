//! What is left to chance, and what it follows from.

use std::collections::BTreeSet;

use super::*;
use crate::block::fault::action::Effect;
use crate::block::fault::draw::{Change, Corruption, Delay, Percentile, SectorRun, Tear};
use crate::block::model::power_cut::{PowerCut, Survival, Then};

/// A rule that draws a lot of numbers.
fn tear_half(seed: u64) -> Rule {
    let tear = Tear::Random;
    let mut rule = rule("tear", FaultAction::Torn { tear, errno: None });
    rule.matching.probability = 0.5;
    rule.seed = seed;
    rule
}

/// What becomes of the first hundred requests.
fn decisions(bench: &mut Bench, attempt: u32) -> Vec<Vec<Decision>> {
    let judge = |ordinal| bench.engine.judge(ordinal, attempt, &write(0, 64)).records;
    let of_the_tear = |records: Vec<Record>| {
        let records = records.into_iter().filter(|record| record.id == "tear");
        records.map(|record| record.decision).collect()
    };
    (1..=100).map(judge).map(of_the_tear).collect()
}

#[test]
fn the_same_seed_and_request_meet_the_same_fault() {
    let first = decisions(&mut Bench::new([tear_half(7)]), 0);
    assert_eq!(decisions(&mut Bench::new([tear_half(7)]), 0), first);
    assert_ne!(decisions(&mut Bench::new([tear_half(8)]), 0), first);
    assert_ne!(decisions(&mut Bench::new([tear_half(7)]), 1), first);
    // Neither other rules nor what was before change what a rule draws.
    let mut delay = rule("delay", FaultAction::Delay(Delay::Uniform(0, 1000)));
    delay.matching.probability = 0.3;
    let mut other = rule("other", FaultAction::SetState("2".to_owned()));
    other.matching.sectors = Some((3, 1));
    let mut crowded = Bench::new([delay, other, tear_half(7), tear_half(7)]);
    crowded.engine.remove("nobody");
    assert_eq!(decisions(&mut crowded, 0), first);
    let mut late = Bench::new([tear_half(7)]);
    for ordinal in (1..50).rev() {
        late.engine.judge(ordinal, 3, &write(9, 9));
    }
    assert_eq!(decisions(&mut late, 0), first);
}

fn delays(delay: Delay, count: u32) -> Vec<u64> {
    let mut bench = Bench::new([rule("delay", FaultAction::Delay(delay))]);
    let drawn = (0..count).map(|_| match bench.decision(&flush()) {
        Decision::Delay { microseconds } => microseconds,
        other => panic!("{other:?}"),
    });
    drawn.collect()
}

#[test]
fn a_fixed_delay_is_always_the_same() {
    assert_eq!(delays(Delay::Fixed(17), 5), [17; 5]);
}

#[test]
fn a_delay_between_two_bounds_may_be_either() {
    let mut seen = [0; 4];
    for delay in delays(Delay::Uniform(10, 13), 4000) {
        seen[usize::try_from(delay).unwrap() - 10] += 1;
    }
    assert!(
        seen.iter().all(|count| (900..1100).contains(count)),
        "{seen:?}"
    );
    assert_eq!(delays(Delay::Uniform(5, 5), 5), [5; 5]);
}

#[test]
fn invalid_bounds_are_harmless() {
    let widest = delays(Delay::Uniform(0, u64::MAX), 100);
    assert!(widest.iter().max() > Some(&(u64::MAX / 10 * 9)));
    assert_eq!(delays(Delay::Uniform(u64::MAX, u64::MAX), 2), [u64::MAX; 2]);
    assert_eq!(delays(Delay::Uniform(9, 3), 2), [9; 2]);
    assert_eq!(delays(Delay::Percentiles(Vec::new()), 2), [0; 2]);
    let huge =
        Bench::new([rule("delay", FaultAction::Delay(Delay::Fixed(u64::MAX)))]).judge(&flush());
    assert_eq!(huge.delay, crate::block::fault::draw::MAX_DELAY);
}

fn percentiles(points: &[(f64, u64)]) -> Delay {
    let point = |&(percentile, microseconds): &(f64, u64)| Percentile {
        percentile,
        microseconds,
    };
    Delay::Percentiles(points.iter().map(point).collect())
}

#[test]
fn a_distribution_is_constant_below_its_first_point_and_straight_between_two() {
    let drawn = delays(
        percentiles(&[(50.0, 100), (90.0, 500), (100.0, 10_500)]),
        10_000,
    );
    let count = |of: &dyn Fn(u64) -> bool| drawn.iter().filter(|delay| of(**delay)).count();
    assert!(drawn.iter().all(|delay| (100..=10_500).contains(delay)));
    let constant = count(&|delay| delay == 100);
    assert!((4900..5150).contains(&constant), "{constant}");
    // As many in each half of a straight part.
    for part in [100..300, 300..500] {
        let inside = count(&|delay| delay > 100 && part.contains(&delay));
        assert!((1850..2150).contains(&inside), "{inside}");
    }
    for part in [500..5500, 5500..10_500] {
        let inside = count(&|delay| part.contains(&delay));
        assert!((430..570).contains(&inside), "{inside}");
    }
    assert_eq!(delays(percentiles(&[(100.0, 8)]), 9), [8; 9]);
    // With a point at zero there is nothing below the first one.
    let straight = delays(percentiles(&[(0.0, 0), (100.0, 1000)]), 1000);
    assert!(straight.iter().filter(|delay| **delay == 0).count() < 10);
    assert!(straight.iter().max() > Some(&980));
}

fn flipped(bench: &mut Bench, sectors: u64) -> Vec<u64> {
    match bench.decision(&read(0, sectors)) {
        Decision::Corrupt {
            change: Change::Flip(bits),
        } => bits,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bits_are_flipped_that_are_different_and_anywhere() {
    let mut bench = Bench::new([rule(
        "flip",
        FaultAction::Corrupt(Corruption::FlipBits(100)),
    )]);
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let bits = flipped(&mut bench, 1);
        assert_eq!(bits.len(), 100);
        assert!(bits.is_sorted_by(|a, b| a < b) && bits[99] < 4096);
        seen.extend(bits);
    }
    assert!(seen.len() > 4050, "{}", seen.len());
    assert!(seen.contains(&0) || seen.contains(&4095));
    let mut one = Bench::new([rule("flip", FaultAction::Corrupt(Corruption::FlipBits(1)))]);
    assert_eq!(flipped(&mut one, 2).len(), 1);
}

#[test]
fn there_are_not_more_bits_to_flip_than_there_are() {
    let action = FaultAction::Corrupt(Corruption::FlipBits(5000));
    let mut bench = Bench::new([rule("flip", action)]);
    assert!(flipped(&mut bench, 1).into_iter().eq(0..4096));
    assert_eq!(flipped(&mut bench, 2).len(), 5000);
    assert_eq!(flipped(&mut bench, 0), Vec::<u64>::new());
}

#[test]
fn bytes_are_overwritten_as_the_rule_says() {
    let corruption = Corruption::Overwrite {
        offset: u64::MAX,
        length: 3,
        pattern: vec![1, 2],
    };
    let change = Change::Overwrite {
        offset: u64::MAX,
        length: 3,
        pattern: vec![1, 2],
    };
    let mut bench = Bench::new([rule("overwrite", FaultAction::Corrupt(corruption))]);
    assert_eq!(bench.decision(&write(0, 1)), Decision::Corrupt { change });
}

fn kept(tear: Tear, sectors: u64) -> Vec<SectorRun> {
    let errno = Some(Errno::ENOSPC);
    let mut bench = Bench::new([rule("torn", FaultAction::Torn { tear, errno })]);
    match bench.decision(&write(0, sectors)) {
        Decision::Torn { keep, errno: found } if found == errno => keep,
        other => panic!("{other:?}"),
    }
}

fn run(first: u64, count: u64) -> SectorRun {
    SectorRun { first, count }
}

#[test]
fn a_torn_write_keeps_its_beginning_or_its_end() {
    assert_eq!(kept(Tear::First(3), 8), [run(0, 3)]);
    assert_eq!(kept(Tear::First(9), 8), [run(0, 8)]);
    assert_eq!(kept(Tear::Last(3), 8), [run(5, 3)]);
    assert_eq!(kept(Tear::Last(u64::MAX), 8), [run(0, 8)]);
    assert_eq!(kept(Tear::First(0), 8), []);
    assert_eq!(kept(Tear::Last(0), 8), []);
    assert_eq!(kept(Tear::Random, 0), []);
}

/// Runs that are not empty, in growing order, with something between each two, and their sectors.
fn check(runs: &[SectorRun], sectors: u64) -> u64 {
    assert!(runs.iter().all(|run| run.count > 0));
    assert!(runs.is_sorted_by(|a, b| a.first + a.count < b.first));
    assert!(
        runs.last()
            .is_none_or(|run| run.first + run.count <= sectors)
    );
    runs.iter().map(|run| run.count).sum()
}

#[test]
fn a_write_torn_at_random_keeps_each_sector_as_likely_as_not() {
    let runs = kept(Tear::Random, 4000);
    let count = check(&runs, 4000);
    assert!((1850..2150).contains(&count), "{count}");
    assert!((900..1100).contains(&runs.len()), "{}", runs.len());
}

#[test]
fn a_write_of_a_hundred_and_more_megabytes_is_torn_into_few_enough_parts() {
    let sectors = (1 << 21) + 3;
    let runs = kept(Tear::Random, sectors);
    let count = check(&runs, sectors);
    assert!(
        (sectors / 100 * 48..sectors / 100 * 52).contains(&count),
        "{count}"
    );
    assert!(runs.len() < 1 << 15, "{}", runs.len());
    // The last sectors are among them in one run or another, though they are no whole group.
    let ends: BTreeSet<_> = (0..20)
        .map(|ordinal| {
            let mut bench = Bench::new([tear_half(ordinal)]);
            let records = bench.engine.judge(1, 0, &write(0, 65_537)).records;
            records.into_iter().any(|record| match record.decision {
                Decision::Torn { keep, .. } => keep
                    .last()
                    .is_some_and(|run| run.first + run.count == 65_537),
                _ => false,
            })
        })
        .collect();
    assert_eq!(ends.len(), 2);
}

#[test]
fn deterministic_actions_are_decided_by_the_rule_alone() {
    let cut = PowerCut {
        survival: Survival::Prefix,
        seed: 1,
        tear_bytes: 64,
    };
    let after = FaultAction::Error {
        errno: Errno::ENOSPC,
        after: true,
    };
    let failed = Decision::Error {
        errno: Errno::ENOSPC,
        after: true,
    };
    let power_cut = FaultAction::PowerCut {
        survival: cut.survival,
        tear_bytes: cut.tear_bytes,
        then: Then::Stop,
    };
    let to_sector = u64::MAX;
    let decided = |action| Bench::new([rule("rule", action)]).decision(&write(0, 1));
    assert_eq!(decided(after), failed);
    assert_eq!(decided(FaultAction::Hang), Decision::Hang);
    assert_eq!(decided(FaultAction::Drop), Decision::Drop);
    assert_eq!(decided(FaultAction::Stop), Decision::Stop);
    let misdirected = decided(FaultAction::Misdirect { to_sector });
    assert_eq!(misdirected, Decision::Misdirect { to_sector });
    let cut_off = decided(power_cut);
    assert_eq!(cut_off.effect(), Effect::PowerCut(cut, Then::Stop));
}

#[test]
fn an_action_and_its_decision_apply_to_the_same_requests() {
    let tear = Tear::Random;
    let actions = [
        FAIL,
        FaultAction::Delay(Delay::Fixed(1)),
        FaultAction::Hang,
        FaultAction::Corrupt(Corruption::FlipBits(1)),
        FaultAction::Torn { tear, errno: None },
        FaultAction::Drop,
        FaultAction::Misdirect { to_sector: 1 },
        FaultAction::SetState("2".to_owned()),
        FaultAction::Stop,
        FaultAction::PowerCut {
            survival: Survival::None,
            tear_bytes: 512,
            then: Then::Reset,
        },
    ];
    let requests = [
        read(0, 1),
        write(0, 1),
        flush(),
        discard(&[(0, 1)]),
        write_zeroes(&[(0, 1)]),
    ];
    for action in actions {
        let mut applicable = Vec::new();
        for request in &requests {
            let kind = Kinds::of(&request.operation);
            let decision = Bench::new([rule("rule", action.clone())]).decision(request);
            let applies = decision.applies_to(RecordedOperation::of(&request.operation));
            let kinds = properties(action_type(&action)).kinds;
            assert_eq!(kinds.contains(kind), applies, "{action:?}");
            applicable.push(applies);
        }
        let expected = match action_type(&action).name() {
            "corrupt" | "misdirect" => [true, true, false, false, false],
            "torn" => [false, true, false, false, false],
            "drop" => [false, true, true, true, true],
            _ => [true; 5],
        };
        assert_eq!(applicable, expected, "{action:?}");
    }
}

#[test]
fn the_manual_says_of_each_action_what_it_can_be_done_to() {
    let manual = include_str!("../../../../../docs/faults.md");
    let (_, table) = manual
        .split_once("| action | applies to | members |\n")
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let said: Vec<_> = rows
        .map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let expected: Vec<(String, &str)> = BlockFaultActionType::ALL
        .iter()
        .map(|action| {
            let kinds = properties(*action).kinds;
            let to = match kinds {
                Kinds::ALL => "all",
                Kinds::WRITE => "writes",
                _ if kinds == Kinds::READ.with(Kinds::WRITE) => "reads, writes",
                _ if kinds == Kinds::READ.complement() => "all but reads",
                _ => panic!("no words for {kinds:?}"),
            };
            (format!("`{}`", action.name()), to)
        })
        .collect();
    let expected: Vec<_> = expected.iter().map(|(name, to)| (&**name, *to)).collect();
    assert_eq!(said, expected);
}
