//! Which requests a rule is about.

use super::*;

#[test]
fn a_rule_is_about_the_kinds_of_requests_that_it_names() {
    let requests = [
        (Kinds::READ, read(0, 1)),
        (Kinds::WRITE, write(0, 1)),
        (Kinds::FLUSH, flush()),
        (Kinds::DISCARD, discard(&[(0, 1)])),
        (Kinds::WRITE_ZEROES, write_zeroes(&[(0, 1)])),
    ];
    for (kind, request) in &requests {
        assert_eq!(Kinds::of(&request.operation), *kind);
        for (other, _) in &requests {
            let mut bench = Bench::with(|of| of.kinds = *other);
            assert_eq!(bench.fails(request), kind == other);
            let mut bench = Bench::with(|of| of.kinds = other.with(Kinds::FLUSH));
            assert_eq!(bench.fails(request), kind == other || *kind == Kinds::FLUSH);
        }
        assert!(Bench::with(|_| {}).fails(request));
        assert!(!Bench::with(|of| of.kinds = Kinds::NONE).fails(request));
    }
}

#[test]
fn a_part_of_the_disk_is_overlapped_from_its_first_sector_to_its_last() {
    let mut bench = Bench::with(|of| of.sectors = Some((100, 10)));
    for (first, count, overlaps) in [
        (92, 8, false),
        (92, 9, true),
        (99, 1, false),
        (100, 1, true),
        (109, 1, true),
        (110, 1, false),
        (104, 2, true),
        (0, 1000, true),
        (109, 8, true),
    ] {
        assert_eq!(
            bench.fails(&read(first, count)),
            overlaps,
            "{first}+{count}"
        );
        assert_eq!(bench.fails(&write(first, count)), overlaps);
        assert_eq!(bench.fails(&discard(&[(first, count)])), overlaps);
        assert_eq!(bench.fails(&write_zeroes(&[(first, count)])), overlaps);
    }
}

#[test]
fn any_of_several_ranges_may_overlap_and_a_rule_still_fires_once() {
    let mut bench = Bench::with(|of| of.sectors = Some((100, 10)));
    assert!(bench.fails(&discard(&[(0, 1), (500, 1), (105, 1)])));
    assert!(!bench.fails(&discard(&[(0, 100), (110, 5), (500, 1)])));
    assert_eq!(
        bench.judge(&discard(&[(100, 2), (105, 2)])).records.len(),
        1
    );
    assert_eq!(bench.counts(0), (2, 2));
}

#[test]
fn a_request_without_sectors_overlaps_no_range() {
    let mut everywhere = Bench::with(|of| of.sectors = Some((0, u64::MAX)));
    assert!(everywhere.fails(&read(1 << 40, 1)));
    let mut part = Bench::with(|of| of.sectors = Some((100, 10)));
    for nothing in [
        flush(),
        read(105, 0),
        write(105, 0),
        discard(&[]),
        discard(&[(105, 0)]),
    ] {
        assert!(!everywhere.fails(&nothing), "{nothing:?}");
        assert!(!part.fails(&nothing), "{nothing:?}");
        assert!(Bench::with(|_| {}).fails(&nothing));
    }
}

#[test]
fn a_part_without_a_sector_and_one_past_all_disks_are_harmless() {
    for sectors in [(100, 0), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
        let mut bench = Bench::with(|of| of.sectors = Some(sectors));
        assert!(!bench.fails(&read(96, 8)));
        assert!(!bench.fails(&write(99, 8)));
        assert!(!bench.fails(&read(u64::MAX / SECTOR_SIZE, 1)));
    }
}

#[test]
fn a_rule_is_about_lengths_within_its_bounds() {
    let mut bench = Bench::with(|of| (of.min_bytes, of.max_bytes) = (1024, 2048));
    let lengths = [0, 1, 2, 3, 4, 5].map(|sectors| bench.fails(&read(0, sectors)));
    assert_eq!(lengths, [false, false, true, true, true, false]);
    // A request for several ranges is as long as all of them.
    assert!(bench.fails(&discard(&[(0, 1), (9, 1)])));
    assert!(!bench.fails(&discard(&[(0, 3), (9, 2)])));
    assert!(!bench.fails(&flush()));
    assert!(Bench::with(|of| of.max_bytes = 0).fails(&flush()));
}

#[test]
fn a_rule_of_another_state_sleeps() {
    let mut bench = Bench::with(|of| of.state = Some("broken".to_owned()));
    assert!(!bench.fails(&flush()));
    bench.engine.set_state("broken");
    assert!(bench.fails(&flush()));
    bench.engine.set_state("1");
    assert!(!bench.fails(&flush()));
    assert_eq!(bench.counts(0), (1, 1));
    assert!(Bench::with(|of| of.state = Some("1".to_owned())).fails(&flush()));
}

#[test]
fn a_rule_lets_some_pass_and_fires_so_often() {
    let mut bench = Bench::with(|of| (of.kinds, of.skip, of.count) = (Kinds::READ, 2, 3));
    let mut fails = Vec::new();
    for _ in 0..7 {
        assert!(!bench.fails(&write(0, 1)));
        fails.push(bench.fails(&read(0, 1)));
    }
    assert_eq!(fails, [false, false, true, true, true, false, false]);
    // What was let pass, and what came too late, has matched.
    assert_eq!(bench.counts(0), (7, 3));
    let mut bench = Bench::with(|of| of.count = 0);
    assert!(!bench.fails(&flush()));
    assert_eq!(bench.counts(0), (1, 0));
}

#[test]
fn another_attempt_is_matched_again() {
    let mut bench = Bench::with(|of| of.count = 2);
    for attempt in 0..4 {
        let judgement = bench.engine.judge(1, attempt, &flush());
        assert_eq!(judgement.fate != Fate::Perform, attempt < 2);
        assert!(
            judgement
                .records
                .iter()
                .all(|record| record.attempt == attempt)
        );
    }
    assert_eq!(bench.counts(0), (4, 2));
}

#[test]
fn rules_fire_with_their_probabilities() {
    let fired = |probability| {
        let mut bench = Bench::with(|of| of.probability = probability);
        let fired = (0..10_000).filter(|_| bench.fails(&flush())).count();
        assert_eq!(bench.counts(0), (10_000, fired as u64));
        fired
    };
    assert_eq!(fired(0.0), 0);
    assert_eq!(fired(1.0), 10_000);
    assert!((2350..2650).contains(&fired(0.25)), "{}", fired(0.25));
    assert!((50..150).contains(&fired(0.01)), "{}", fired(0.01));
}

#[test]
fn only_what_fires_is_counted_against_the_limit() {
    let mut bench = Bench::with(|of| (of.probability, of.count) = (0.5, 10));
    let fired: Vec<_> = (0..100).filter(|_| bench.fails(&flush())).collect();
    assert_eq!(fired.len(), 10);
    assert!(fired.last() > Some(&10));
}

#[test]
fn all_conditions_have_to_hold() {
    let mut bench = Bench::with(|of| {
        *of = Match {
            kinds: Kinds::WRITE,
            sectors: Some((8, 8)),
            state: Some("2".to_owned()),
            min_bytes: 1024,
            max_bytes: 4096,
            ..Match::all(Kinds::NONE)
        };
    });
    let good = write(8, 2);
    assert!(!bench.fails(&good));
    bench.engine.set_state("2");
    assert!(bench.fails(&good));
    for wrong in [read(8, 2), write(6, 2), write(8, 1), write(8, 9)] {
        assert!(!bench.fails(&wrong), "{wrong:?}");
    }
    assert_eq!(bench.counts(0), (1, 1));
}
